// Command proverecord measures golang.org/x/mod's tlog.ProveRecord over hashes in memory, on one core.
//
//	proverecord -dir DIRECTORY -size N -root HEX -seconds S
//
// DIRECTORY is the root of a tlog-tiles log of at least N entries, from whose level 0 tiles the tree is built; its root
// hash must be the given one. The report is a line of JSON on standard output.
package main

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const tileWidth = 256

type report struct {
	Proofs  int     `json:"proofs"`
	Seconds float64 `json:"seconds"`
}

func main() {
	dir := flag.String("dir", "", "root of the log's tiles")
	size := flag.Int64("size", 0, "tree size")
	root := flag.String("root", "", "root hash, hexadecimal")
	seconds := flag.Float64("seconds", 1, "how long to make proofs")
	flag.Parse()
	result, err := run(*dir, *size, *root, *seconds)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, size int64, root string, seconds float64) (*report, error) {
	hashes, err := load(dir, size)
	if err != nil {
		return nil, err
	}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	computed, err := tlog.TreeHash(size, reader)
	if err != nil {
		return nil, err
	}
	if hex.EncodeToString(computed[:]) != root {
		return nil, fmt.Errorf("the tiles' root is %x, not %s", computed, root)
	}
	proofs := 0
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	for time.Since(start).Seconds() < seconds {
		for range 100 {
			if _, err := tlog.ProveRecord(size, random.Int64N(size), reader); err != nil {
				return nil, err
			}
			proofs++
		}
	}
	return &report{Proofs: proofs, Seconds: time.Since(start).Seconds()}, nil
}

// load returns the hashes of all complete subtrees in x/mod's order, from the tiles of level 0.
func load(dir string, size int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, tlog.StoredHashCount(size))
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	for start := int64(0); start < size; start += tileWidth {
		width := min(tileWidth, size-start)
		raw, err := os.ReadFile(filepath.Join(dir, tilePath(start/tileWidth, width)))
		if err != nil {
			return nil, err
		}
		if int64(len(raw)) != width*tlog.HashSize {
			return nil, fmt.Errorf("tile %d has %d bytes", start/tileWidth, len(raw))
		}
		for i := range width {
			leaf := tlog.Hash(raw[i*tlog.HashSize : (i+1)*tlog.HashSize])
			more, err := tlog.StoredHashesForRecordHash(start+i, leaf, reader)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, more...)
		}
	}
	return hashes, nil
}

// tilePath returns the path of a level 0 tile as c2sp.org/tlog-tiles names it.
func tilePath(index, width int64) string {
	name := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		name = fmt.Sprintf("x%03d/%s", index%1000, name)
	}
	if width < tileWidth {
		name = fmt.Sprintf("%s.p/%d", name, width)
	}
	return "tile/0/" + name
}
