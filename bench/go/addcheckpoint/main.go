// Command addcheckpoint moves many logs forward at a witness, each by one step, and says how long that took.
//
//	addcheckpoint -logs N -vkeys                                 prints the logs' verifier keys
//	addcheckpoint -logs N -step S -connections C -address A      asks for N cosignatures, each connection one at a time
//
// Every log has a key of its own, made from its number, and all have the same entries: step S goes from the size that
// step S-1 reached, with a consistency proof of about 17 hashes, and step 0 from nothing. All requests are made before
// the clock starts. With -witness VKEY every answer is verified after it has stopped. With -rate R a request is sent
// every 1/R seconds, and its latency counts from the moment when it was due. The report is a line of JSON on standard
// output; answers other than 200 are counted in it, and so are those that do not verify.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	firstSize = 100_000
	growth    = 37
	algorithm = 1 // Ed25519, c2sp.org/signed-note
)

// report is what was found. Times are milliseconds, but for those named seconds; processor is this program's own.
type report struct {
	Requests   int     `json:"requests"`
	Seconds    float64 `json:"seconds"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	Max        float64 `json:"max"`
	Processor  float64 `json:"processor_seconds"`
	Refused    int     `json:"refused"`
	Unverified int     `json:"unverified"`
}

// request is what is sent for one log, and what came back.
type request struct {
	text    string
	raw     []byte
	status  int
	answer  []byte
	latency time.Duration
}

func main() {
	logs := flag.Int("logs", 0, "number of logs")
	vkeys := flag.Bool("vkeys", false, "print the logs' verifier keys")
	step := flag.Int("step", 0, "number of the step that each log takes")
	connections := flag.Int("connections", 1, "connections at a time")
	rate := flag.Float64("rate", 0, "requests that are sent in a second; 0: as soon as there is an answer")
	address := flag.String("address", "", "host:port of the witness")
	witness := flag.String("witness", "", "verifier key of the witness")
	flag.Parse()
	if *vkeys {
		for number := range *logs {
			name, key := newLog(number)
			fmt.Println(vkey(name, key))
		}
		return
	}
	result, err := run(*logs, *step, *connections, *rate, *address, *witness)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "addcheckpoint:", err)
		os.Exit(1)
	}
}

func run(logs, step, connections int, rate float64, address, witness string) (*report, error) {
	requests, err := prepare(logs, step, address)
	if err != nil {
		return nil, err
	}
	conns := make([]net.Conn, connections)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", address); err != nil {
			return nil, err
		}
		defer conns[i].Close()
	}
	result := &report{Requests: len(requests)}
	before, start := processor(), time.Now()
	if err := send(requests, conns, start, rate); err != nil {
		return nil, err
	}
	result.Seconds = time.Since(start).Seconds()
	result.Processor = processor() - before
	latencies := make([]time.Duration, len(requests))
	for i, made := range requests {
		latencies[i] = made.latency
		if made.status != http.StatusOK {
			result.Refused++
		}
	}
	slices.Sort(latencies)
	at := func(share float64) float64 {
		return float64(latencies[min(int(float64(len(latencies))*share), len(latencies)-1)]) / 1e6
	}
	result.P50, result.P99, result.Max = at(0.5), at(0.99), at(1)
	if witness != "" {
		result.Unverified, err = unverified(requests, witness)
	}
	return result, err
}

// send hands the requests to the connections, each of which has one under way.
func send(requests []*request, conns []net.Conn, start time.Time, rate float64) error {
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, len(conns))
	for _, conn := range conns {
		group.Go(func() {
			reader := bufio.NewReader(conn)
			for {
				number := int(next.Add(1)) - 1
				if number >= len(requests) {
					return
				}
				begun := time.Now()
				if rate > 0 {
					begun = start.Add(time.Duration(float64(number) / rate * float64(time.Second)))
					time.Sleep(time.Until(begun))
				}
				if err := requests[number].exchange(conn, reader); err != nil {
					failed <- fmt.Errorf("request %d: %w", number, err)
					return
				}
				requests[number].latency = time.Since(begun)
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func (r *request) exchange(conn net.Conn, reader *bufio.Reader) error {
	if _, err := conn.Write(r.raw); err != nil {
		return err
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	r.status = response.StatusCode
	r.answer, err = io.ReadAll(response.Body)
	return err
}

// prepare makes the request of every log for one step.
func prepare(logs, step int, address string) ([]*request, error) {
	tree, err := newTree(size(step))
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(size(step), tree)
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "old %d\n", size(step-1))
	if step > 0 {
		proof, err := tlog.ProveTree(size(step), size(step-1), tree)
		if err != nil {
			return nil, err
		}
		for _, hash := range proof {
			fmt.Fprintf(&head, "%s\n", hash)
		}
	}
	requests := make([]*request, logs)
	for number := range requests {
		name, key := newLog(number)
		text := fmt.Sprintf("%s\n%d\n%s\n", name, size(step), root)
		line := append(keyID(name, key), ed25519.Sign(key, []byte(text))...)
		body := fmt.Sprintf("%s\n%s\n— %s %s\n", &head, text, name, base64.StdEncoding.EncodeToString(line))
		raw := fmt.Sprintf("POST /add-checkpoint HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\n"+
			"Content-Length: %d\r\n\r\n%s", address, len(body), body)
		requests[number] = &request{text: text, raw: []byte(raw)}
	}
	return requests, nil
}

// unverified returns how many answers are not the witness's cosignature of what was asked for.
func unverified(requests []*request, vkey string) (int, error) {
	verifier, err := fnote.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return 0, err
	}
	wrong := 0
	for _, made := range requests {
		if _, err := note.Open(append([]byte(made.text+"\n"), made.answer...), note.VerifierList(verifier)); err != nil {
			wrong++
		}
	}
	return wrong, nil
}

// newTree returns the hashes of a tree of so many entries.
func newTree(size int64) (tlog.HashReader, error) {
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	for seq := range size {
		made, err := tlog.StoredHashes(seq, fmt.Appendf(nil, "entry %d", seq), reader)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, made...)
	}
	return reader, nil
}

// size returns how large a tree is after a step, 0 before the first one.
func size(step int) int64 {
	if step < 0 {
		return 0
	}
	return firstSize + growth*int64(step)
}

func newLog(number int) (string, ed25519.PrivateKey) {
	name := fmt.Sprintf("bench.example.com/log/%05d", number)
	seed := sha256.Sum256([]byte(name))
	return name, ed25519.NewKeyFromSeed(seed[:])
}

func vkey(name string, key ed25519.PrivateKey) string {
	material := append([]byte{algorithm}, key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("%s+%x+%s", name, keyID(name, key), base64.StdEncoding.EncodeToString(material))
}

func keyID(name string, key ed25519.PrivateKey) []byte {
	text := append([]byte(name+"\n"), algorithm)
	hash := sha256.Sum256(append(text, key.Public().(ed25519.PublicKey)...))
	return hash[:4]
}

// processor returns the processor time of this program so far, in seconds.
func processor() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
