// Command tessera appends entries to a new log with Tessera's POSIX driver, in this process, and says how long it took:
// from the first Add to the moment when a published checkpoint covers the last entry.
//
//	tessera -entries FILE -dir DIRECTORY -batch N
//
// FILE holds one entry a line; it is read before the clock starts. The report is a line of JSON on standard output.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

const (
	origin = "bench.example.com/tessera"
	// The smallest that the driver allows.
	checkpointInterval = 100 * time.Millisecond
	pollInterval       = time.Millisecond
)

type report struct {
	Entries int     `json:"entries"`
	Seconds float64 `json:"seconds"`
}

func main() {
	file := flag.String("entries", "", "file with one entry a line")
	dir := flag.String("dir", "", "directory of the new log")
	batch := flag.Uint("batch", tessera.DefaultBatchMaxSize, "entries that are integrated at once")
	flag.Parse()
	result, err := run(*file, *dir, *batch)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file, dir string, batch uint) (*report, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	appender, shutdown, reader, err := open(ctx, dir, batch)
	if err != nil {
		return nil, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, pollInterval)

	start := time.Now()
	futures := make([]tessera.IndexFuture, 0, len(lines))
	for _, line := range lines {
		futures = append(futures, appender.Add(ctx, tessera.NewEntry(line)))
	}
	for number, future := range futures {
		index, err := future()
		if err != nil {
			return nil, err
		}
		if index.Index != uint64(number) {
			return nil, fmt.Errorf("entry %d got index %d", number, index.Index)
		}
	}
	if _, _, err := awaiter.Await(ctx, futures[len(futures)-1]); err != nil {
		return nil, err
	}
	elapsed := time.Since(start)

	if err := shutdown(ctx); err != nil {
		return nil, err
	}
	return &report{Entries: len(lines), Seconds: elapsed.Seconds()}, nil
}

func open(ctx context.Context, dir string, batch uint) (
	*tessera.Appender, func(context.Context) error, tessera.LogReader, error,
) {
	secret, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, nil, nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, nil, nil, err
	}
	// What would cost time and is not needed here is off: duplicate detection, collection of old partial tiles. A batch
	// that is not full is flushed soon, which matters for the last one only.
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(batch, 20*time.Millisecond).
		WithCheckpointInterval(checkpointInterval).
		WithGarbageCollectionInterval(0)
	return tessera.NewAppender(ctx, driver, options)
}
