// Package soak proves that pgretry applies each reported transaction exactly once, under faults. Its tests run for some
// seconds; with PGRETRY_SOAK=10m they run for that long.
package soak
