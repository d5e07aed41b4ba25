//go:build real && unix

package browsertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is a headless browser with one page.
type browser struct {
	t     *testing.T
	ctx   context.Context
	shots string // where screenshots go

	mu       sync.Mutex
	messages []string // of the console, violations of the page's policy included
}

// open starts the browser of the environment and opens a page.
func open(t *testing.T, url string) *browser {
	t.Helper()
	path := os.Getenv("LEAT_TEST_BROWSER")
	if path == "" {
		t.Fatal("LEAT_TEST_BROWSER must name a Chromium")
	}
	shots, err := os.MkdirTemp("", "leat-console-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("screenshots are in %s", shots)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // root has none
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, shots: shots}
	messages := chromedp.Console(ctx)
	var reading sync.WaitGroup
	t.Cleanup(reading.Wait)
	t.Cleanup(cancel)
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.mu.Lock()
			b.messages = append(b.messages, m.String())
			b.mu.Unlock()
		}
	})
	b.do(chromedp.Navigate(url))
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true, and returns how long that took.
func (b *browser) await(patience time.Duration, expression string) time.Duration {
	b.t.Helper()
	began := time.Now()
	for !eval[bool](b, "Boolean("+expression+")") {
		if time.Since(began) > patience {
			b.shot("failed", 0)
			b.t.Fatalf("after %v it is not so: %s", patience, expression)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	return time.Since(began)
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

// screen emulates a screen's width and the user's colour scheme.
func (b *browser) screen(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: width, Height: 800, DeviceScaleFactor: 1.5, Mobile: width < 600,
		})
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// shot writes a screenshot of the whole page.
func (b *browser) shot(name string, width int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		if width > 0 {
			name = fmt.Sprint(name, "-", width)
		}
		err = os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// quiet fails the test if the page has written to the console.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) > 0 {
		b.t.Errorf("the browser's console has:\n%s", strings.Join(b.messages, "\n"))
	}
}
