// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
  tide: {
    link: { up: "Up", down: "Down", idle: "Idle", held: "Held back" },
    about: "This gateway",
    // What the names of fields do not say by themselves.
    names: {
      "flash written": "written since the start", "flash day": "written in 24 hours", "flash budget": "wear budget a day", "flash tokens": "may be written at once",
      life: "at this rate it lasts", wear: "the medium is", losses: "lost, and reported upstream", remarks: "note", rejected: "not understood", opaque: "kept as they are", acked: "readings acknowledged", "last ack": "last acknowledged", "in flight": "under way now",
    },
  },
  quarantine: {
    none: "Nothing is set aside.",
    look: "Look", retry: "Send again", drop: "Forget…", more: "More", again: "Is to be sent again", sure: "Forget for good: ",
  },
  trace: {
    title: "Where is my reading?", about: "From the device to the other side, step by step",
    device: "Device", metric: "Metric", again: "Follow the newest", none: "Nothing has been heard yet.",
  },
  config: {
    title: "Configuration", about: "Change it, see what that does, and try it out",
    draft: "Go on with your change", other: "The configuration has changed since", tried: "The last one tried", why: "It was not kept",
    whole: "The whole file", fresh: "A new block",
    check: "Check", diff: "What changes", after: "Undo after", apply: "Try it",
    line: "Line", fine: "Nothing is wrong with it.", same: "It is what runs.", nothing: "Nothing is interrupted.",
    marks: { ok: "✓", warn: "!", fail: "✗" },
    trial: "A configuration is on trial. It is undone in", kept: "The configuration is kept.", undone: "The change was undone: the configuration before runs.",
  },
  login: {
    login: "Sign in",
    logout: "Sign out",
    setup: "Set up this gateway",
    password: "Change the password",
    tokens: "Tokens",
    asks: { setup: "code", password: "old" },
    why: {
      setup: "The code is in the gateway's journal. Choose a password of 10 characters or more.",
      password: "Everybody else who is signed in has to sign in again.",
      tokens: "Let programs in without a password.",
    },
    compare: "Certificate SHA-256: ",
    wait: "Seconds to wait: ",
    name: "New token",
    look: "May look",
    operate: "May operate",
    used: "last used",
    never: "never",
    revoke: "Revoke",
    once: "A new token is shown here once: ",
  },
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
