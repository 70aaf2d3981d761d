// Every sentence of the page that is not in index.html.
export const texts = {
  unreachable: "The gateway does not answer — hint: are you still on its network?",
};
