// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
  tide: {
    link: { up: "Up", down: "Down", idle: "Idle", held: "Held back" },
    about: "This gateway",
    // What the names of fields do not say by themselves.
    names: {
      "flash written": "written since the start", "flash day": "written in 24 hours", "flash budget": "wear budget a day", "flash tokens": "may be written at once",
      life: "at this rate it lasts", wear: "the medium is", losses: "lost, and reported upstream", remarks: "note", rejected: "not understood", opaque: "kept as they are",
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
};
