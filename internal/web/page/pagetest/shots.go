//go:build ignore

// Takes pictures of the page: shots BASE DIR NAME SCREEN PATH SELECTOR [CLICK WAIT]…
// Several pictures are separated by "--".
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

var screens = map[string]pagetest.Screen{
	"phone": pagetest.Phone, "desktop": pagetest.Desktop, "tablet": pagetest.Tablet, "narrow": pagetest.Narrow,
	"phone-dark": pagetest.Phone.InDark(), "desktop-dark": pagetest.Desktop.InDark(), "tablet-dark": pagetest.Tablet.InDark(),
}

func main() {
	base, dir, rest := os.Args[1], os.Args[2], os.Args[3:]
	for len(rest) > 0 {
		n := 0
		for n < len(rest) && rest[n] != "--" {
			n++
		}
		if err := shoot(base, dir, rest[:n]); err != nil {
			log.Print(rest[:n], ": ", err)
		}
		rest = rest[min(n+1, len(rest)):]
	}
}

func script(js string) pagetest.Step {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[any]("void("+js+")"))
		return err
	})
}

func shoot(base, dir string, a []string) error {
	b, stop, err := pagetest.OpenBrowser(context.Background(), screens[a[1]])
	defer stop()
	if err != nil {
		return err
	}
	if err := b.Run(chromedp.Navigate(base+a[2]), pagetest.Visible(a[3])); err != nil {
		fmt.Println(b.Complaints())
		return err
	}
	for i := 4; i+1 < len(a); i += 2 {
		if err := b.Run(script(a[i]), pagetest.Visible(a[i+1])); err != nil {
			fmt.Println(b.Complaints())
			return err
		}
	}
	_ = b.Run(chromedp.Sleep(500 * time.Millisecond))
	for _, line := range b.Complaints() {
		fmt.Println(a[0], line)
	}
	bytes, requests := b.Traffic()
	fmt.Println(a[0], bytes, "bytes", requests, "requests")
	return b.Shoot(filepath.Join(dir, a[0]+".png"))
}
