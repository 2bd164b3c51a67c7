// Package page is the area dashboard that a browser shows: hand-written ES
// modules on lit-html, one style sheet, the words of three languages and all
// Material Design icons, embedded and ready to serve.
//
// [Handler] serves the app shell for the page's own addresses and the files it
// loads. Everything is read, hashed and compressed once; after that a request
// costs a map look-up. Files under /static/<version>/ never change and are
// cached for ever; the version is the hash of all of them. The page itself
// speaks to the server over /api/websocket.
//
// The first card is drawn from what the shell carries ([Screen]) and with the
// modules that the first screen needs, which are served as one file, put together
// at start-up (bundle.go); the others are loaded when they are wanted.
//
// vendor.sh fetches the third-party files (vendor.sha256 holds their checksums),
// facts.py the tables of Home Assistant's icons and state words (Apache-2.0).
package page
