//go:build real && unix

package browsertest

import (
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What an operator sees: a healthy pipeline, a record that poisons it, a broker that
// stops and goes on, on any screen, and a process that is gone.
func TestPageInABrowser(t *testing.T) {
	j := startJob(t)
	b := open(t, j.url)
	b.screen(1280, "light")
	b.await(30*time.Second, `document.querySelector("[data-field=phase]")?.textContent === "running"`)

	t.Run("rates move", func(t *testing.T) { b.t = t; ratesMove(b, j) })
	t.Run("a dead letter", func(t *testing.T) { b.t = t; deadLetter(b, j) })
	t.Run("any screen", func(t *testing.T) { b.t = t; anyScreen(b) })
	t.Run("sorting", func(t *testing.T) { b.t = t; sorting(b) })
	t.Run("hidden", func(t *testing.T) { b.t = t; hidden(b) })
	t.Run("a stopped broker", func(t *testing.T) { b.t = t; stoppedBroker(b) })
	b.t = t
	b.quiet()
	t.Run("no process", func(t *testing.T) { b.t = t; noProcess(b, j) })
}

const within = 2 * time.Second

// The figures change, and are those of the counters.
func ratesMove(b *browser, j *job) {
	b.await(15*time.Second, `document.querySelector(".curve .line").getAttribute("d").split("L").length > 6`) // what came before is over
	began, first := time.Now(), j.state().Totals.Records
	before := b.text("[data-fact=records]")
	b.await(within, fmt.Sprintf(`document.querySelector("[data-fact=records]").textContent !== %q`, before))
	seen := map[string]bool{}
	for time.Since(began) < 5*time.Second {
		seen[b.text("[data-field=in]")] = true
		b.await(within, fmt.Sprintf(`document.querySelector("#status").textContent !== %q`, b.text("#status")))
	}
	if len(seen) < 2 {
		b.t.Errorf("the rate stands at %v", seen)
	}
	counted := float64(j.state().Totals.Records-first) / time.Since(began).Seconds()
	shown, err := strconv.ParseFloat(strings.TrimSuffix(b.text("[data-field=in]"), "/s"), 64)
	if err != nil || math.Abs(shown-counted) > counted/3 || counted < rate/2 {
		b.t.Errorf("it shows %v records a second and counts %.0f, of %d: %v", shown, counted, rate, err)
	}
	if n := eval[int](b, `document.querySelectorAll(".stream.on").length`); n < 6 {
		b.t.Errorf("%d of the graph's 6 edges flow", n)
	}
	b.shot("healthy", 1280)
}

// A record that is no order is there within two seconds, as text and nothing else.
func deadLetter(b *browser, j *job) {
	mark := rand.Text()
	j.poison(mark + `<img src=x onerror="console.error(1)"><script>console.error(2)</script>`)
	took := b.await(within, fmt.Sprintf(`document.querySelector("[data-field=letters-list]").textContent.includes(%q)`, mark+"<img src=x"))
	b.t.Logf("a dead letter is shown after %v", took)
	if n := eval[int](b, `document.querySelectorAll("main img, main script").length`); n != 0 {
		b.t.Errorf("%d elements came out of a record", n)
	}
	b.quiet()
}

// On no screen does the page scroll sideways, whatever is open.
func anyScreen(b *browser) {
	var grounds []string
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 768, 1280, 1920} {
			b.screen(width, scheme)
			for _, open := range []bool{false, true} {
				eval[bool](b, fmt.Sprintf(`document.querySelectorAll("details").forEach((d) => d.open = %v) || true`, open))
				b.await(within, fmt.Sprintf(`document.documentElement.scrollWidth <= %d && document.querySelector(".graph svg").clientWidth > 0`, width))
				if lost := eval[[]string](b, `[...document.querySelectorAll(".tile, .panel, .banner, h2, .facts")]
					.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < 0).map((e) => e.className)`); len(lost) > 0 {
					b.t.Errorf("%d px, %s: beyond the edge: %v", width, scheme, lost)
				}
				name := scheme
				if open {
					name += "-open"
				}
				b.shot(name, width)
			}
		}
		grounds = append(grounds, eval[string](b, `getComputedStyle(document.body).backgroundColor`))
	}
	eval[bool](b, `document.querySelectorAll("details").forEach((d) => d.open = false) || true`)
	if grounds[0] == grounds[1] {
		b.t.Errorf("dark and light are both %s", grounds[0])
	}
	b.screen(1280, "light")
}

// The partitions are sorted by a button, which says so.
func sorting(b *browser) {
	sorted := `[...document.querySelectorAll("th[aria-sort=ascending], th[aria-sort=descending]")].map((e) => e.textContent + " " + e.ariaSort).join()`
	click := `[...document.querySelectorAll("th button")].find((e) => e.textContent.startsWith("Partition")).click()`
	column := `[...document.querySelectorAll("th")].find((e) => e.ariaSort === %q).closest("table").tBodies[0].rows`
	for _, way := range []string{"descending", "ascending"} {
		eval[*bool](b, click)
		if got := eval[string](b, sorted); !strings.HasSuffix(got, " "+way) {
			b.t.Errorf("sorted by %s, want %s", got, way)
		}
		numbers := eval[[]string](b, fmt.Sprintf(`[...`+column+`].map((r) => r.cells[1].textContent)`, way))
		if want := map[string]string{"descending": "3 2 1 0", "ascending": "0 1 2 3"}[way]; strings.Join(numbers, " ") != want {
			b.t.Errorf("%s: %v", way, numbers)
		}
	}
}

// A page that nobody sees asks for nothing.
func hidden(b *browser) {
	hide := func(v bool) {
		eval[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %v, configurable: true }) && document.dispatchEvent(new Event("visibilitychange"))`, v))
	}
	asked := `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("state.json")).length`
	hide(true)
	if got := b.text("#status"); got != "paused" {
		b.t.Errorf("hidden, the status is %q", got)
	}
	before := eval[int](b, asked)
	eval[bool](b, `window.waited = false, setTimeout(() => window.waited = true, 3500), true`)
	b.await(5*time.Second, `window.waited`)
	if more := eval[int](b, asked) - before; more > 1 { // one may have been due
		b.t.Errorf("hidden, it asked %d times", more)
	}
	hide(false)
	b.await(within, `document.querySelector("#status").textContent.startsWith("live")`)
}

// When the broker stops, the age of the last commit turns red, by more than its colour,
// and turns back when the broker goes on.
func stoppedBroker(b *browser) {
	late := `document.querySelector("[data-tile=commit]").matches(".bad")`
	if eval[bool](b, late) {
		b.t.Fatal("commits are late before")
	}
	thaw := freezeBroker(b.t)
	took := b.await(within, late)
	b.t.Logf("the age of the last commit is red after %v", took)
	if got := b.text("[data-field=commit]"); !strings.HasPrefix(got, "✕ ") {
		b.t.Errorf("the age is shown as %q", got)
	}
	if got := b.text("[data-field=commit-about]"); !strings.HasPrefix(got, "late: ") {
		b.t.Errorf("the reason is shown as %q", got)
	}
	rgb := eval[[]int](b, `getComputedStyle(document.querySelector("[data-field=commit]")).color.match(/\d+/g).map(Number)`)
	if rgb[0] < rgb[1]+80 || rgb[0] < rgb[2]+80 {
		b.t.Errorf("its colour is rgb%v", rgb)
	}
	b.shot("stopped", 1280)
	b.screen(360, "dark")
	b.await(within, `document.documentElement.scrollWidth <= 360`)
	b.shot("stopped-dark", 360)
	b.screen(1280, "light")
	thaw()
	took = b.await(time.Minute, "!"+late)
	b.t.Logf("well again after %v", took)
	b.await(30*time.Second, `parseFloat(document.querySelector("[data-field=in]").textContent) > 0`)
}

// The page says so when nobody answers.
func noProcess(b *browser, j *job) {
	if err := j.process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	b.await(6*time.Second, `!document.querySelector("#gone").hidden && document.querySelector("#gone").textContent.includes("does not answer")`)
	b.shot("gone", 1280)
}
