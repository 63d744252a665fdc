// Who holds this prompt, and where should requests go? One index and one scheduler, shared by goroutines.
//
//	PKG_CONFIG_PATH=PREFIX/lib/pkgconfig go run . (in a checkout of llmd)
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	payload, err := read("block_stored.msgpack")
	if err != nil {
		return err
	}
	yaml, err := read("epp.yaml")
	if err != nil {
		return err
	}

	// The message of a real engine, number 0 of its stream.
	index, err := NewIndex(32)
	if err != nil {
		return err
	}
	defer index.Close()
	if err := index.Apply("pod-7", 0, payload); err != nil {
		return err
	}
	prompt, err := StoredTokens(payload)
	if err != nil {
		return err
	}
	leading, err := index.Query(prompt)
	if err != nil {
		return err
	}
	fmt.Printf("pod-7 holds %d leading blocks\n", leading["pod-7"])

	if err := asNumbers(index, prompt); err != nil {
		return err
	}

	// A message that is none is refused, and says what to do next.
	var refused *Error
	if err := index.Apply("pod-7", 1, []byte("no batch")); !errors.As(err, &refused) || refused.Status != "corrupt" {
		return fmt.Errorf("expected a corrupt message, found %v", err)
	}

	scheduler, err := NewScheduler(string(yaml), index)
	if err != nil {
		return err
	}
	defer scheduler.Close()
	var endpoints []*Endpoint
	for _, name := range []string{"pod-7", "pod-8", "pod-9", "pod-10"} {
		endpoint, err := NewEndpoint(name, "10.0.0.7:8000", index)
		if err != nil {
			return err
		}
		defer endpoint.Close()
		endpoints = append(endpoints, endpoint)
	}
	if err := once(scheduler, prompt, endpoints); err != nil {
		return err
	}
	return burst(scheduler, prompt, endpoints, 64)
}

// asNumbers asks about a prompt while its second half is made: the answer about many workers is one array.
func asNumbers(index *Index, prompt []uint32) error {
	workers, leading := make([]uint32, 2), make([]uint32, 2)
	for at, name := range []string{"pod-8", "pod-7"} {
		worker, err := index.Worker(name)
		if err != nil {
			return err
		}
		workers[at] = worker
	}
	half := len(prompt) / 2
	chain, err := index.NewChain(prompt[:half])
	if err != nil {
		return err
	}
	defer chain.Close()
	if err := index.QueryDense(prompt[:half], workers, leading); err != nil {
		return err
	}
	fmt.Printf("of the first half pod-8 and pod-7 hold %v", leading)
	if err := chain.Extend(prompt[half:]); err != nil {
		return err
	}
	if err := chain.QueryDense(workers, leading); err != nil {
		return err
	}
	fmt.Printf(", of all %v\n", leading)
	return nil
}

// once sends one request, and says why there.
func once(scheduler *Scheduler, prompt []uint32, endpoints []*Endpoint) error {
	decision, err := scheduler.Decide("tiny", prompt, endpoints)
	if err != nil {
		return err
	}
	defer decision.Close()
	fmt.Printf("%s takes %d of %d tokens from its cache, because\n%s", decision.Endpoint(), decision.HitTokens(), len(prompt), decision)
	return decision.End()
}

// burst sends requests from as many goroutines, which all hold their places at once.
func burst(scheduler *Scheduler, prompt []uint32, endpoints []*Endpoint, requests int) error {
	var decided, over sync.WaitGroup
	release := make(chan struct{})
	found := make(chan error, requests)
	decided.Add(requests)
	over.Add(requests)
	for n := 0; n < requests; n++ {
		go func() {
			defer over.Done()
			decision, err := scheduler.Decide("tiny", prompt, endpoints)
			decided.Done()
			if err != nil {
				found <- err
				return
			}
			<-release
			found <- decision.End()
			decision.Close()
		}()
	}
	decided.Wait()
	inFlight := 0
	for _, endpoint := range endpoints {
		inFlight += endpoint.InFlight()
	}
	close(release)
	over.Wait()
	for n := 0; n < requests; n++ {
		if err := <-found; err != nil {
			return err
		}
	}
	for _, endpoint := range endpoints {
		if left := endpoint.InFlight(); left != 0 {
			return fmt.Errorf("%d requests are still in flight", left)
		}
	}
	fmt.Printf("%d requests went to %d endpoints, and none is in flight\n", inFlight, len(endpoints))
	return nil
}

// read reads a file of the examples, from the checkout or from this folder.
func read(name string) ([]byte, error) {
	bytes, err := os.ReadFile(filepath.Join("examples", "data", name))
	if errors.Is(err, os.ErrNotExist) {
		bytes, err = os.ReadFile(filepath.Join("..", "data", name))
	}
	return bytes, err
}
