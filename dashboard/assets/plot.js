// The plot of a series, fetched when the first one is wanted.
export {};
