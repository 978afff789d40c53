// Tlog-interop checks an exported or served partition with golang.org/x/mod's sumdb/note and sumdb/tlog, which share no
// code with tlog.
//
// Usage: tlog-interop [-plain] [-requests FILE] DIR VKEYFILE [FILE.tlog-proof | FILE.consistency]...
//
// DIR is a c2sp.org/tlog-tiles directory, or the URL of one that is served, http://HOST:PORT/PARTITION. Every hash tile
// is authenticated against the checkpoint's root, every entry against its leaf hash and its predecessor's hash, every
// proof file against the tree. FILE.consistency is a consistency proof in the form of c2sp.org/tlog-witness's
// add-checkpoint request; the signed checkpoint it starts from lies next to it as FILE.old.
//
// With -plain the log is another program's: its entries are any bytes, and no chain of hashes is looked for.
//
// -requests names a JSON file {"inclusion": [[index, size], ...], "consistency": [[old, new], ...]}; the report on
// standard output then holds the proofs that this program makes for them. Exit status 1: something did not verify.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Requests are the proofs to make: pairs (leaf index, tree size) and (old size, new size).
type Requests struct {
	Inclusion   [][2]int64 `json:"inclusion"`
	Consistency [][2]int64 `json:"consistency"`
}

// Report is what was checked, and the proofs made, in the order they were asked for.
type Report struct {
	Origin      string        `json:"origin"`
	Size        int64         `json:"size"`
	Root        tlog.Hash     `json:"root"`
	HashTiles   int           `json:"hash_tiles"`
	Bundles     int           `json:"bundles"`
	Entries     int64         `json:"entries"`
	ProofFiles  int           `json:"proof_files"`
	Inclusion   [][]tlog.Hash `json:"inclusion"`
	Consistency [][]tlog.Hash `json:"consistency"`
}

func main() {
	requests := flag.String("requests", "", "JSON `file` that lists the proofs to make")
	plain := flag.Bool("plain", false, "take entries of any kind")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: tlog-interop [-plain] [-requests FILE] DIR VKEYFILE [FILE.tlog-proof | FILE.consistency]...")
		os.Exit(2)
	}
	report, err := run(flag.Arg(0), flag.Arg(1), flag.Args()[2:], *requests, *plain)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlog-interop:", err)
		os.Exit(1)
	}
}

func run(dir, vkeyFile string, proofFiles []string, requestsFile string, plain bool) (*Report, error) {
	vkey, err := os.ReadFile(vkeyFile)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(vkey), "\n"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", vkeyFile, err)
	}
	from := openSource(dir)
	if served, err := from.read("vkey"); err != nil || string(served) != string(vkey) {
		return nil, fmt.Errorf("the log's own vkey is another one: %q, %v", served, err)
	}
	signed, err := from.read("checkpoint")
	if err != nil {
		return nil, err
	}
	tree, err := openCheckpoint(signed, verifier)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	report := &Report{Origin: verifier.Name(), Size: tree.N, Root: tree.Hash}
	log := &directory{from: from, tree: tree, plain: plain, tiles: make(map[tlog.Tile][]byte)}
	if empty, err := tlog.TreeHash(0, nil); tree.N == 0 && (err != nil || tree.Hash != empty) {
		return nil, errors.New("checkpoint: the root of the empty tree is wrong")
	}
	if err := log.checkEntries(report); err != nil {
		return nil, err
	}
	if directory, ok := from.(exported); ok {
		err = log.checkTileFiles(string(directory), report)
	} else {
		err = log.checkTilesServed(report)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range proofFiles {
		if err := log.checkProofFile(name, verifier); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		report.ProofFiles++
	}
	if requestsFile != "" {
		if err := log.makeProofs(requestsFile, report); err != nil {
			return nil, fmt.Errorf("%s: %w", requestsFile, err)
		}
	}
	return report, nil
}
