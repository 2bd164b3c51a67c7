// Package hub tells screens what they show of one home, and nothing else.
//
// A [Hub] watches a home once, however many screens look at it. Its goroutine
// encodes each change once, finds the feeds that show the entity through an
// index, and appends the encoded change to each of them. A feed never blocks
// the hub: it holds a bounded list of changes, and when its screen is too slow
// to take them, the list is dropped and the feed sends the current states in
// full instead. Memory is therefore bounded by what the screens show.
//
// Order: a feed's events come in the order of the home's changes, and begin
// with the states as they stood at the moment of subscription.
//
// Summaries of areas are kept up to date change by change; what a summary shows
// is put together at most twice a second, and only for areas that changed.
package hub
