// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
  series: {
    ranges: "Time shown", hour: "1 h", hours: "6 h", day: "24 h", week: "7 d", all: "All",
    earlier: "Earlier", later: "Later", closer: "Zoom in", wider: "Zoom out", back: "Back",
    csv: "Download as CSV",
    looking: "Looking through the flash…", until: "Older than that is still being looked for: so far back to ",
    none: "Nothing of this series is on flash in this time.", from: "The oldest reading on flash is of ",
    empty: "Nothing is on flash yet: readings appear here as they come.",
    more: "Only the newest changes are shown; the copy has all of them.", bad: "bad", uncertain: "uncertain",
    band: "between least and most", holes: "nothing came", gaps: "lost, and reported", unsynced: "the gateway's clock was not set", worse: "not of good quality",
    yes: "true", no: "false",
  },
};
