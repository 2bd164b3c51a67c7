// Package concord keeps the live state of Home Assistant homes.
//
// The root package holds the product's nouns as plain structs, the interfaces
// over them, and the error codes that every adapter speaks. It imports the
// standard library only. Each technology lives in internal/<technology> and
// turns that technology into these types; docs/ARCHITECTURE.md is the map.
package concord
