//go:build ignore

// Serves the page with the test's house, to look at while one works on it:
//
//	go run serve.go 127.0.0.1:8070
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

func main() {
	_, handler := pagetest.NewHouse()
	log.Fatal(http.ListenAndServe(os.Args[1], handler))
}
