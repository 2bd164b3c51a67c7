package pagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Screen is the size and the theme of a browser window.
type Screen struct {
	Width, Height int64
	Scale         float64
	Dark, Touch   bool
}

// The screens that the page is made for.
var (
	Phone   = Screen{Width: 390, Height: 844, Scale: 2, Touch: true}
	Narrow  = Screen{Width: 320, Height: 640, Scale: 1, Touch: true}
	Tablet  = Screen{Width: 1024, Height: 768, Scale: 1, Touch: true}
	Desktop = Screen{Width: 1280, Height: 800, Scale: 1}
)

// InDark is the same screen with the dark theme.
func (s Screen) InDark() Screen {
	s.Dark = true
	return s
}

// Browser is one tab of a real Chromium.
type Browser struct {
	ctx  context.Context
	mu   sync.Mutex
	log  []string
	sent int64
	reqs int
}

// Step is one thing to do in the browser.
type Step = chromedp.Action[chromedp.Void]

// Click clicks on the first element of the CSS selector.
func Click(selector string) Step { return chromedp.Click(chromedp.CSS(selector)) }

// Visible waits until an element of the CSS selector is there to see.
func Visible(selector string) Step { return chromedp.WaitVisible(chromedp.CSS(selector)) }

// Type sends keys to the element of the CSS selector.
func Type(selector, keys string) Step { return chromedp.SendKeys(chromedp.CSS(selector), keys) }

// Keys for Press.
const (
	Escape     = kb.Escape
	Enter      = kb.Enter
	ArrowRight = kb.ArrowRight
)

// Press presses one key where the focus is.
func Press(key string) Step { return chromedp.KeyEvent(key) }

// stepLimit ends a step that will never come, so that a test fails with a name.
const stepLimit = 20 * time.Second

// NewBrowser opens a tab of the size and closes it with the test. It skips
// under -short and fails when there is no Chromium.
func NewBrowser(t testing.TB, s Screen) *Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Chromium")
	}
	b, stop, err := OpenBrowser(context.Background(), s)
	t.Cleanup(stop)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// OpenBrowser is NewBrowser outside of a test; stop closes the browser.
func OpenBrowser(ctx context.Context, s Screen) (b *Browser, stop func(), err error) {
	options := chromedp.DefaultExecAllocatorOptions[:]
	options = options[:len(options):len(options)]
	options = append(options, chromedp.NoSandbox, chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-GB"))
	if path := chromium(); path != "" {
		options = append(options, chromedp.ExecPath(path))
	}
	ctx, stopAllocator := chromedp.NewExecAllocator(ctx, options...)
	ctx, stopTab := chromedp.NewContext(ctx)
	b = &Browser{ctx: ctx}
	stop = func() { stopTab(); stopAllocator() }
	if err := chromedp.Do(ctx); err != nil {
		return b, stop, err
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		return b, stop, err
	}
	return b, stop, chromedp.Do(ctx, chromedp.Func(s.apply))
}

func chromium() string {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// apply makes the window what the screen says, and turns on what listen hears.
func (s Screen) apply(ctx context.Context, _ *chromedp.Target) error {
	theme := "light"
	if s.Dark {
		theme = "dark"
	}
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	for _, cmd := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable} {
		_, e := chromedp.Call(ctx, cmd, cdp.Empty{})
		err = errors.Join(err, e)
	}
	_, e1 := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.Width, Height: s.Height, DeviceScaleFactor: s.Scale, Mobile: s.Touch && s.Width < 800,
	})
	_, e2 := chromedp.Call(ctx, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: s.Touch})
	_, e3 := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	return errors.Join(err, e1, e2, e3)
}

func (b *Browser) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.log = append(b.log, "exception: "+describe(ev.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			b.log = append(b.log, fmt.Sprintf("console %s: %s", ev.Type, ev.Args[0].Value))
		}
	case *log.EventEntryAdded:
		b.log = append(b.log, fmt.Sprintf("%s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.reqs++
	case *network.EventLoadingFinished:
		b.sent += int64(ev.EncodedDataLength)
	case *network.EventWebSocketFrameReceived:
		b.sent += int64(len(ev.Response.PayloadData))
	case *network.EventWebSocketFrameSent:
		b.sent += int64(len(ev.Response.PayloadData))
		b.reqs++
	}
}

func describe(d *runtime.ExceptionDetails) string {
	if d.Exception != nil {
		return d.Text + " " + d.Exception.Description
	}
	return d.Text
}

// Complaints returns what the console said so far: errors, warnings, refused
// content. A page without a fault says nothing.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.log...)
}

// Traffic returns the bytes and the requests so far, HTTP and WebSocket
// together; a message that the page sends counts as a request.
func (b *Browser) Traffic() (bytes int64, requests int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent, b.reqs
}

// Do runs chromedp actions and fails the test when they do not end in time.
func (b *Browser) Do(t testing.TB, actions ...Step) {
	t.Helper()
	if err := b.Run(actions...); err != nil {
		t.Fatalf("browser: %v\nconsole: %s", err, strings.Join(b.Complaints(), "\n"))
	}
}

// Run runs chromedp actions within the limit of a step.
func (b *Browser) Run(actions ...Step) error {
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// Open goes to the address and waits until the selector is there to see.
func (b *Browser) Open(t testing.TB, url, selector string) {
	t.Helper()
	b.Do(t, chromedp.Navigate(url), Visible(selector))
}

// Login opens the server's login page and logs in with its form.
func (b *Browser) Login(t testing.TB, base, user, password string) {
	t.Helper()
	b.Open(t, base+"/login", "form.login")
	b.Do(t, Type("[name=login]", user), Type("[name=password]", password+"\r"), Visible(".area.card"))
}

// Go goes to the address and waits until it has loaded.
func (b *Browser) Go(url string) error { return b.Run(chromedp.Navigate(url)) }

// Until waits until the JavaScript expression is true.
func (b *Browser) Until(t testing.TB, expression string) {
	t.Helper()
	if err := b.Await(expression); err != nil {
		t.Fatalf("waiting for %s: %v\nconsole: %s", expression, err, strings.Join(b.Complaints(), "\n"))
	}
}

// Await is Until outside of a test.
func (b *Browser) Await(expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool]("!!("+expression+")"))
	return err
}

// Eval runs a JavaScript expression, waits where it is a promise, and returns its value.
func Eval[T any](t testing.TB, b *Browser, expression string) T {
	t.Helper()
	value, err := Value[T](b, expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// Value is Eval outside of a test.
func Value[T any](b *Browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// SetCookie gives the browser a cookie of the address.
func (b *Browser) SetCookie(url, name, value string) error {
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: url})
	return err
}

// Heap collects garbage and returns the bytes of JavaScript objects that are left.
func (b *Browser) Heap() (float64, error) {
	if _, err := chromedp.Call(b.ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
		return 0, err
	}
	usage, err := chromedp.Call(b.ctx, runtime.GetHeapUsage, cdp.Empty{})
	if err != nil {
		return 0, err
	}
	return usage.UsedSize, nil
}

// Slow makes the processor as many times slower for the page.
func (b *Browser) Slow(times float64) error {
	_, err := chromedp.Call(b.ctx, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: times})
	return err
}

// Preload runs a script in every page before the page's own.
func (b *Browser) Preload(t testing.TB, script string) {
	t.Helper()
	if err := b.Inject(script); err != nil {
		t.Fatal(err)
	}
}

// Inject is Preload outside of a test.
func (b *Browser) Inject(script string) error {
	_, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
	return err
}

// FirstCard is a script for Preload that sets window.firstCard to the
// milliseconds from the start of the navigation to the first drawn card with a
// value or a control.
const FirstCard = `new MutationObserver((_, o) => { const e = document.querySelector(".row .val, .row .ct"); if (e) { o.disconnect(); requestAnimationFrame(() => setTimeout(() => window.firstCard = performance.now())); } }).observe(document, {childList: true, subtree: true})`

// CountWork begins to count what Work returns; it is for before Open.
func (b *Browser) CountWork() error {
	_, err := chromedp.Call(b.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	return err
}

// Work returns the processor time of the page's main thread, Slow included,
// whatever else the machine does.
func (b *Browser) Work() (time.Duration, error) {
	all, err := chromedp.Call(b.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		return 0, err
	}
	for _, m := range all.Metrics {
		if m.Name == "TaskDuration" {
			return time.Duration(m.Value * float64(time.Second)), nil
		}
	}
	return 0, errors.New("the browser counts no work")
}

// Shoot writes a PNG of the window.
func (b *Browser) Shoot(file string) error {
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return err
	}
	return os.WriteFile(file, png, 0o644)
}
