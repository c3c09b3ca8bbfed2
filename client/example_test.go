package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"cairn/client"
)

// A service counts, and closes the client when it ends.
func Example() {
	c, err := client.New("http://127.0.0.1:8127",
		client.Tags(client.Tag("service", "shop")),
		client.OnError(func(err error) { log.Print(err) }),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			log.Print(err)
		}
	}()

	signups := c.Counter("signups", client.Tag("env", "prod"))
	signups.Inc()
	signups.Add(3)
	c.Count("orders", 1, client.Tag("plan", "business")) // finds the series itself
}

// What was not delivered when the process died is delivered by the next.
func ExampleSpool() {
	c, err := client.New("http://127.0.0.1:8127",
		client.Spool("/var/lib/shop/cairn"), client.SpoolSize(64<<20), client.LowPriority("debug."),
	)
	if err != nil {
		log.Fatal(err)
	}
	c.Counter("orders").Inc()
}

func ExampleTimer_Time() {
	c, err := client.New("udp://127.0.0.1:8125")
	if err != nil {
		log.Fatal(err)
	}
	checkout := c.Timer("checkout")
	func() {
		defer checkout.Time()()
		// what is measured
	}()
}

func ExampleClient_CountRequests() {
	c, err := client.New("") // from CAIRN_ADDR
	if err != nil {
		log.Fatal(err)
	}
	c.CollectRuntime()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: ":8080", Handler: c.CountRequests(mux)}
	log.Print(server.ListenAndServe())
}

// A service whose metrics are switched off needs no conditions.
func ExampleClient_nil() {
	var c *client.Client
	c.Counter("signups").Inc()
	fmt.Println(c.Flush(context.Background()))
	// Output: <nil>
}
