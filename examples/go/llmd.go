// What this program uses of llmd, in Go's words: errors are values, and objects are closed.
package main

/*
#cgo pkg-config: llmd
#include <stdlib.h>
#include <llmd.h>
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Error is why a call failed. Its status says what to do next.
type Error struct {
	Status  string
	Message string
}

func (e *Error) Error() string { return e.Status + ": " + e.Message }

// failed takes over the error of a call that failed; nil when there is none.
func failed(err *C.llmd_error) error {
	if err == nil {
		return nil
	}
	defer C.llmd_error_free(err)
	status := C.llmd_status_name(C.int(C.llmd_error_status(err)))
	return &Error{C.GoString(status), C.GoString(C.llmd_error_message(err))}
}

// Index knows who holds which block. Goroutines may share it.
type Index struct{ c *C.llmd_index }

// NewIndex makes an empty index.
func NewIndex(blockSize int) (*Index, error) {
	var settings C.llmd_index_settings
	settings.struct_size = C.sizeof_llmd_index_settings
	settings.block_size = C.size_t(blockSize)
	var err *C.llmd_error
	index := C.llmd_index_new(&settings, &err)
	return &Index{index}, failed(err)
}

// Close frees the index.
func (x *Index) Close() { C.llmd_index_free(x.c) }

// Apply takes one message of an engine, with the number that it had in the stream.
func (x *Index) Apply(worker string, seq uint64, payload []byte) error {
	name := C.CString(worker)
	defer C.free(unsafe.Pointer(name))
	var err *C.llmd_error
	C.llmd_index_apply(x.c, name, C.uint64_t(seq), bytes(payload), C.size_t(len(payload)), nil, &err)
	return failed(err)
}

// Query says how many leading blocks of a prompt each worker holds.
func (x *Index) Query(tokens []uint32) (map[string]int, error) {
	room := make([]C.llmd_overlap, 64)
	for {
		var err *C.llmd_error
		n := C.size_t(len(room))
		status := C.llmd_index_query(x.c, numbers(tokens), C.size_t(len(tokens)), nil, &room[0], &n, &err)
		if status == C.LLMD_EXHAUSTED {
			C.llmd_error_free(err)
			room = make([]C.llmd_overlap, n)
			continue
		}
		if err := failed(err); err != nil {
			return nil, err
		}
		leading := make(map[string]int, n)
		for _, overlap := range room[:n] {
			leading[C.GoString(overlap.name)] = int(overlap.leading)
		}
		return leading, nil
	}
}

// Worker is the number of a worker; it gets one when it is new.
func (x *Index) Worker(name string) (uint32, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	var err *C.llmd_error
	var worker C.uint32_t
	C.llmd_index_worker(x.c, text, &worker, &err)
	return uint32(worker), failed(err)
}

// QueryDense says how many leading blocks of a prompt each of these workers holds, in their order.
func (x *Index) QueryDense(tokens, workers, leading []uint32) error {
	if len(leading) != len(workers) {
		return fmt.Errorf("room for %d numbers, expected %d", len(leading), len(workers))
	}
	var err *C.llmd_error
	C.llmd_index_query_dense(x.c, numbers(tokens), C.size_t(len(tokens)), nil, numbers(workers), C.size_t(len(workers)), numbers(leading), &err)
	return failed(err)
}

// Chain is a prompt that goes on as tokens are made. Goroutines may share it.
type Chain struct{ c *C.llmd_chain }

// NewChain begins a prompt.
func (x *Index) NewChain(tokens []uint32) (*Chain, error) {
	var err *C.llmd_error
	var chain *C.llmd_chain
	C.llmd_chain_new(x.c, numbers(tokens), C.size_t(len(tokens)), nil, &chain, &err)
	return &Chain{chain}, failed(err)
}

// Close frees the chain.
func (c *Chain) Close() { C.llmd_chain_free(c.c) }

// Extend goes on with more tokens.
func (c *Chain) Extend(tokens []uint32) error {
	var err *C.llmd_error
	C.llmd_chain_extend(c.c, numbers(tokens), C.size_t(len(tokens)), &err)
	return failed(err)
}

// QueryDense says how many leading blocks each of these workers holds, in their order.
func (c *Chain) QueryDense(workers, leading []uint32) error {
	if len(leading) != len(workers) {
		return fmt.Errorf("room for %d numbers, expected %d", len(leading), len(workers))
	}
	var err *C.llmd_error
	C.llmd_chain_query_dense(c.c, numbers(workers), C.size_t(len(workers)), numbers(leading), &err)
	return failed(err)
}

// StoredTokens are the tokens of the first event of a message.
func StoredTokens(payload []byte) ([]uint32, error) {
	var err *C.llmd_error
	var events *C.llmd_events
	C.llmd_events_decode(bytes(payload), C.size_t(len(payload)), &events, &err)
	if err := failed(err); err != nil {
		return nil, err
	}
	defer C.llmd_events_free(events)
	var event C.llmd_event
	event.struct_size = C.sizeof_llmd_event
	C.llmd_events_get(events, 0, &event, &err)
	if err := failed(err); err != nil {
		return nil, err
	}
	stored := unsafe.Slice((*uint32)(unsafe.Pointer(event.tokens)), int(event.tokens_len))
	return append([]uint32(nil), stored...), nil
}

// Endpoint is where requests can go.
type Endpoint struct{ c *C.llmd_endpoint }

// NewEndpoint makes an endpoint whose worker in the index has the same name.
func NewEndpoint(name, address string, index *Index) (*Endpoint, error) {
	var settings C.llmd_endpoint_settings
	settings.struct_size = C.sizeof_llmd_endpoint_settings
	settings.name, settings.address = C.CString(name), C.CString(address)
	defer C.free(unsafe.Pointer(settings.name))
	defer C.free(unsafe.Pointer(settings.address))
	var err *C.llmd_error
	endpoint := C.llmd_endpoint_new(&settings, index.c, &err)
	return &Endpoint{endpoint}, failed(err)
}

// Close frees the endpoint.
func (e *Endpoint) Close() { C.llmd_endpoint_free(e.c) }

// InFlight says how many requests were sent there and have not ended.
func (e *Endpoint) InFlight() int { return int(C.llmd_endpoint_in_flight_requests(e.c)) }

// Scheduler chooses endpoints. Goroutines may share it.
type Scheduler struct{ c *C.llmd_scheduler }

// NewScheduler reads llm-d's configuration.
func NewScheduler(yaml string, index *Index) (*Scheduler, error) {
	text := C.CString(yaml)
	defer C.free(unsafe.Pointer(text))
	var err *C.llmd_error
	scheduler := C.llmd_scheduler_from_yaml(text, index.c, &err)
	return &Scheduler{scheduler}, failed(err)
}

// Close frees the scheduler.
func (s *Scheduler) Close() { C.llmd_scheduler_free(s.c) }

// Decision is where a request goes. Close it when the request is over.
type Decision struct{ c *C.llmd_decision }

// Decide chooses one of the endpoints, and reserves a place there.
func (s *Scheduler) Decide(model string, tokens []uint32, endpoints []*Endpoint) (*Decision, error) {
	// What a struct points to must not be Go's memory: model and tokens are copied.
	var request C.llmd_request
	request.struct_size = C.sizeof_llmd_request
	request.model = C.CString(model)
	defer C.free(unsafe.Pointer(request.model))
	if len(tokens) > 0 {
		copied := C.malloc(C.size_t(len(tokens)) * 4)
		defer C.free(copied)
		copy(unsafe.Slice((*uint32)(copied), len(tokens)), tokens)
		request.tokens, request.tokens_len = (*C.uint32_t)(copied), C.size_t(len(tokens))
	}
	pool := make([]*C.llmd_endpoint, len(endpoints)+1)
	for at, endpoint := range endpoints {
		pool[at] = endpoint.c
	}
	var err *C.llmd_error
	var decision *C.llmd_decision
	C.llmd_scheduler_decide(s.c, &request, &pool[0], C.size_t(len(endpoints)), &decision, &err)
	return &Decision{decision}, failed(err)
}

// Endpoint is the name of where the request goes.
func (d *Decision) Endpoint() string { return C.GoString(C.llmd_decision_endpoint(d.c)) }

// HitTokens says how many tokens the endpoint is expected to take from its cache.
func (d *Decision) HitTokens() int { return int(C.llmd_decision_predicted_hit_tokens(d.c)) }

// End says that the response is complete.
func (d *Decision) End() error {
	var err *C.llmd_error
	C.llmd_decision_end(d.c, nil, &err)
	return failed(err)
}

// Close frees the decision; without an end, the request was aborted.
func (d *Decision) Close() { C.llmd_decision_free(d.c) }

// String says why.
func (d *Decision) String() string {
	var err *C.llmd_error
	var why *C.llmd_string
	C.llmd_decision_explain(d.c, &why, &err)
	if err := failed(err); err != nil {
		return fmt.Sprint(err)
	}
	defer C.llmd_string_free(why)
	return C.GoString(C.llmd_string_text(why))
}

func bytes(of []byte) *C.uint8_t {
	if len(of) == 0 {
		return nil
	}
	return (*C.uint8_t)(&of[0])
}

func numbers(of []uint32) *C.uint32_t {
	if len(of) == 0 {
		return nil
	}
	return (*C.uint32_t)(unsafe.Pointer(&of[0]))
}
