// Package web serves people and programs over HTTP: the page, Home Assistant's
// WebSocket API, the JSON-RPC API of the Odoo add-on, sign-in, metrics and
// health.
//
// Every read of "now" is answered from [concord.Live], in memory, so it does not
// wait for the database or for a home. Handlers return an error; [Server.finish]
// alone turns it into status, body, log line and counter. The routes are listed
// in routes.go.
package web
