package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// With -http the job goes on, orders keep coming, and the page's address is said.
func TestConsoleOfTheJob(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr output
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"-http", ":0", "-n", "100", "-rate", "200"}, &stdout, &stderr) }()
	address := regexp.MustCompile(`console at (http://127\.0\.0\.1:\d+/)`)
	ask := func(path string) string {
		found := address.FindStringSubmatch(stderr.String())
		if found == nil {
			return ""
		}
		answer, err := http.Get(found[1] + path)
		if err != nil {
			return ""
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		check(t, err)
		return string(body)
	}
	await := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			select {
			case <-ctx.Done():
				t.Fatalf("%s: not so; it wrote\n%s", what, stderr.String())
			case code := <-ended:
				t.Fatalf("%s: it has ended with %d; it wrote\n%s", what, code, stderr.String())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	await("ready", func() bool { return ask("readyz") == "ok\n" })
	await("more orders than at the start", func() bool {
		m := regexp.MustCompile(`leat_committed_records_total\{[^}]*\} (\d+)`).FindStringSubmatch(ask("metrics"))
		if m == nil {
			return false
		}
		n, err := strconv.Atoi(m[1])
		check(t, err)
		return n > 150
	})
	if page := ask(""); !strings.HasPrefix(page, "<!doctype html>") {
		t.Errorf("the page is %.100s", page)
	}
	cancel()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit %d, it wrote\n%s", code, stderr.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}
