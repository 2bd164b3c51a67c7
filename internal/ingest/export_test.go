package ingest

// AskTogether lets tests see which questions are put at once.
var AskTogether = askTogether
