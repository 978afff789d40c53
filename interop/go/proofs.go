package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// openCheckpoint verifies a signed checkpoint and returns its tree. The origin must be the key's name.
func openCheckpoint(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return tlog.Tree{}, errors.New("does not consist of origin, size and root hash")
	}
	if lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the origin is %q, the key belongs to %q", lines[0], verifier.Name())
	}
	size, err := parseDecimal(lines[1])
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func parseDecimal(text string) (int64, error) {
	value, err := strconv.ParseInt(text, 10, 64)
	if err == nil && (value < 0 || strconv.FormatInt(value, 10) != text) {
		err = fmt.Errorf("%q is not a canonical decimal", text)
	}
	return value, err
}

// proofFile is what both kinds of file have in common: fields, hashes, an empty line, a signed checkpoint.
type proofFile struct {
	fields     map[string]string
	hashes     []tlog.Hash
	checkpoint []byte
}

// parseProofFile reads lines "name value" for the given names in their order, then hashes, one a line.
// A name with a question mark may be missing.
func parseProofFile(text string, names ...string) (*proofFile, error) {
	head, checkpoint, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, errors.New("has no empty line before the checkpoint")
	}
	file := &proofFile{fields: make(map[string]string), checkpoint: []byte(checkpoint)}
	lines := strings.Split(head, "\n")
	for _, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		if len(lines) > 0 {
			if value, found := strings.CutPrefix(lines[0], name+" "); found {
				file.fields[name], lines = value, lines[1:]
				continue
			}
		}
		if !optional {
			return nil, fmt.Errorf("the line %q is missing", name)
		}
	}
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		file.hashes = append(file.hashes, hash)
	}
	return file, nil
}

// checkProofFile checks a proof with CheckRecord or CheckTree, and that it is the proof that x/mod makes itself.
func (d *directory) checkProofFile(name string, verifier note.Verifier) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if stem, ok := strings.CutSuffix(name, ".consistency"); ok {
		old, err := os.ReadFile(stem + ".old")
		if err != nil {
			return err
		}
		return d.checkConsistency(string(text), old, verifier)
	}
	if strings.HasSuffix(name, ".tlog-proof") {
		return d.checkInclusion(string(text), verifier)
	}
	return errors.New("is neither a .tlog-proof nor a .consistency file")
}

func (d *directory) checkInclusion(text string, verifier note.Verifier) error {
	text, ok := strings.CutPrefix(text, "c2sp.org/tlog-proof@v1\n")
	if !ok {
		return errors.New("has no header c2sp.org/tlog-proof@v1")
	}
	file, err := parseProofFile(text, "extra?", "index")
	if err != nil {
		return err
	}
	tree, err := d.openEarlier(file.checkpoint, verifier)
	if err != nil {
		return err
	}
	index, err := parseDecimal(file.fields["index"])
	if err != nil {
		return err
	}
	entry, err := base64.StdEncoding.Strict().DecodeString(file.fields["extra"])
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(file.hashes, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	own, err := tlog.ProveRecord(tree.N, index, d.hashes())
	if err == nil && !slices.Equal(own, file.hashes) {
		err = errors.New("x/mod makes another proof")
	}
	return err
}

func (d *directory) checkConsistency(text string, oldSigned []byte, verifier note.Verifier) error {
	file, err := parseProofFile(text, "old")
	if err != nil {
		return err
	}
	old, err := d.openEarlier(oldSigned, verifier)
	if err != nil {
		return err
	}
	tree, err := d.openEarlier(file.checkpoint, verifier)
	if err != nil {
		return err
	}
	if size, err := parseDecimal(file.fields["old"]); err != nil || size != old.N {
		return fmt.Errorf("starts from size %s, the old checkpoint has %d", file.fields["old"], old.N)
	}
	if err := tlog.CheckTree(file.hashes, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	own, err := tlog.ProveTree(tree.N, old.N, d.hashes())
	if err == nil && !slices.Equal(own, file.hashes) {
		err = errors.New("x/mod makes another proof")
	}
	return err
}

// openEarlier opens a checkpoint and checks that its tree is the directory's tree at that size.
func (d *directory) openEarlier(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	tree, err := openCheckpoint(signed, verifier)
	if err != nil {
		return tree, err
	}
	if tree.N > d.tree.N {
		return tree, fmt.Errorf("covers %d entries, the directory holds %d", tree.N, d.tree.N)
	}
	root, err := tlog.TreeHash(tree.N, d.hashes())
	if err == nil && root != tree.Hash {
		err = fmt.Errorf("the root of size %d is %v, computed from the tiles it is %v", tree.N, tree.Hash, root)
	}
	return tree, err
}

// makeProofs adds the proofs asked for to the report.
func (d *directory) makeProofs(requestsFile string, report *Report) error {
	text, err := os.ReadFile(requestsFile)
	if err != nil {
		return err
	}
	var requests Requests
	if err := json.Unmarshal(text, &requests); err != nil {
		return err
	}
	for _, pair := range requests.Inclusion {
		proof, err := tlog.ProveRecord(pair[1], pair[0], d.hashes())
		if err != nil {
			return fmt.Errorf("inclusion of %d in %d: %w", pair[0], pair[1], err)
		}
		report.Inclusion = append(report.Inclusion, proof)
	}
	for _, pair := range requests.Consistency {
		proof, err := tlog.ProveTree(pair[1], pair[0], d.hashes())
		if err != nil {
			return fmt.Errorf("consistency of %d and %d: %w", pair[0], pair[1], err)
		}
		report.Consistency = append(report.Consistency, proof)
	}
	return nil
}
