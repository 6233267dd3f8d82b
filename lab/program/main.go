// Command program is what runs in the lab's containers: one small static
// binary that stands in for nginx, for the pause container, for a shell tool
// and for programs that fail. The first argument says which.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	mode, args := "serve", []string(nil)
	if len(os.Args) > 1 {
		mode, args = os.Args[1], os.Args[2:]
	}
	switch mode {
	case "serve":
		go serve()
		wait()
	case "pause", "sleep", "sh":
		wait()
	case "crash":
		// A program that fails after it has started, not instead of.
		time.Sleep(200 * time.Millisecond)
		fmt.Println("this program always fails")
		os.Exit(1)
	case "flaky":
		flaky(args)
	case "true":
	case "echo":
		for _, a := range args {
			fmt.Println(a)
		}
	default:
		fmt.Fprintf(os.Stderr, "no program %q\n", mode)
		os.Exit(127)
	}
}

// serve answers every connection on port 80 with the same page.
func serve() {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", ":80")
	if err != nil {
		fmt.Println(err)
		return
	}
	page := "Welcome to the nginx of the lab: " + os.Getenv("LAB_CONTENT") + "\n"
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
		conn.Close()
	}
}

// flaky fails until it has been started as often as its argument says. It
// counts in the folder /data, which outlives the container.
func flaky(args []string) {
	const count = "/data/starts"
	want, err := strconv.Atoi(strings.Join(args, " "))
	if err != nil {
		fmt.Println(err)
		os.Exit(127)
	}
	before, err := os.ReadFile(count)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Println(err)
		os.Exit(127)
	}
	now := append(before, '.')
	if err := os.WriteFile(count, now, 0o644); err != nil {
		fmt.Println(err)
		os.Exit(127)
	}
	if len(now) < want {
		fmt.Printf("start %d of %d fails\n", len(now), want)
		os.Exit(1)
	}
}

// wait ends the program as soon as it is asked to: a lab is torn down often.
func wait() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	<-end
}
