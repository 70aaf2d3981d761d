// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
  words: { now: "now", ago: (span) => `${span} ago`, days: "days" },
  devices: {
    title: (n, all) => (n < all ? `${n} of ${all} devices` : all === 1 ? "1 device" : all > 0 ? `${all} devices` : "The gateway itself"),
    all: "Show all",
    fewer: "Show fewer",
    more: (n) => `Show ${n} more`,
    quiet: (n) => `${n} quiet`,
    silent: (span) => `Quiet for ${span}`,
    uncertain: "uncertain",
    bad: "bad",
    shown: "The gateway itself. Shown here only: not stored, not sent upstream.",
    kept: "The gateway itself. Stored and sent upstream.",
  },
  series: { heard: (age) => `Heard ${age}`, gone: "The gateway has heard nothing of it." },
};
