// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
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
};
