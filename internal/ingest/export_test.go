package ingest

// AskTogether lets tests see which questions are put at once.
var AskTogether = askTogether

// BackfillAttempts is how often a question is put by default.
const BackfillAttempts = 9
