// Command program is what runs in the lab's containers: one small static
// binary that stands in for nginx, for the pause container, for a shell tool
// and for programs that fail. The first argument says which.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
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
	l, err := net.Listen("tcp", ":80")
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

// wait ends the program as soon as it is asked to: a lab is torn down often.
func wait() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	<-end
}
