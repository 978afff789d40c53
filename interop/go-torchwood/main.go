// Tlog-interop-torchwood checks a policy, proof files and an exported or served partition with filippo.io/torchwood,
// which shares no code with tlog.
//
// Usage: tlog-interop-torchwood [-dir DIR] [-cosign NAME] POLICYFILE [FILE.tlog-proof]...
//
// Every proof file, whose extra line must hold the entry, is verified under the policy. With -dir, a
// c2sp.org/tlog-tiles directory or the URL of one, its checkpoint is verified under the policy, every entry is read and authenticated,
// and every proof file must be, byte for byte, the one that torchwood makes from the directory. With -cosign, the
// report holds the directory's checkpoint with the cosignature of a new witness key of that name.
//
// The report is JSON on standard output. Exit status 1: something did not verify.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Report is what was verified: entries of the directory and proof files, and the cosignature that was asked for.
type Report struct {
	Entries    int64  `json:"entries"`
	ProofFiles int    `json:"proof_files"`
	Witness    string `json:"witness,omitempty"`
	Cosigned   string `json:"cosigned,omitempty"`
}

func main() {
	dir := flag.String("dir", "", "exported `directory` to read, or http://HOST:PORT/PARTITION")
	cosigner := flag.String("cosign", "", "cosign the directory's checkpoint under this key `name`")
	flag.Parse()
	if flag.NArg() < 1 || *cosigner != "" && *dir == "" {
		fmt.Fprintln(os.Stderr, "usage: tlog-interop-torchwood [-dir DIR] [-cosign NAME] POLICYFILE [FILE.tlog-proof]...")
		os.Exit(2)
	}
	report, err := run(flag.Arg(0), *dir, *cosigner, flag.Args()[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlog-interop-torchwood:", err)
		os.Exit(1)
	}
}

func run(policyFile, dir, cosigner string, proofFiles []string) (*Report, error) {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return nil, err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", policyFile, err)
	}
	report := &Report{}
	var client *torchwood.Client
	if dir != "" {
		if client, err = checkDirectory(dir, policy, cosigner, report); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, name := range proofFiles {
		if err := checkProof(name, policy, client); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		report.ProofFiles++
	}
	return report, nil
}

// openTiles returns the directory, or the server where it is a URL.
func openTiles(dir string) (torchwood.TileReader, error) {
	if strings.HasPrefix(dir, "http://") {
		return torchwood.NewTileFetcher(dir)
	}
	return torchwood.NewTileFS(os.DirFS(dir))
}

func checkDirectory(dir string, policy torchwood.Policy, cosigner string, report *Report) (*torchwood.Client, error) {
	ctx := context.Background()
	tiles, err := openTiles(dir)
	if err != nil {
		return nil, err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	checkpoint, opened, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return nil, err
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return nil, err
	}
	for range client.AllEntries(ctx, checkpoint.Tree, 0) {
		report.Entries++
	}
	if err := client.Err(); err != nil {
		return nil, err
	}
	if report.Entries != checkpoint.N {
		return nil, fmt.Errorf("%d entries were read, the checkpoint covers %d", report.Entries, checkpoint.N)
	}
	if cosigner != "" {
		err = cosign(opened, cosigner, report)
	}
	return client, err
}

func cosign(checkpoint *note.Note, name string, report *Report) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		return err
	}
	cosigned, err := note.Sign(checkpoint, signer)
	report.Witness, report.Cosigned = signer.Verifier().String(), string(cosigned)
	return err
}

// checkProof verifies a proof file; with a client, torchwood must make the same file itself.
func checkProof(name string, policy torchwood.Policy, client *torchwood.Client) error {
	proof, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	entry, err := torchwood.ProofExtraData(proof)
	if err != nil {
		return err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), proof); err != nil || client == nil {
		return err
	}
	_, signed, _ := bytes.Cut(proof, []byte("\n\n"))
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return err
	}
	var claimed struct {
		Seq int64 `json:"seq"`
	}
	if err := json.Unmarshal(entry, &claimed); err != nil {
		return err
	}
	entry, hashes, err := client.Entry(context.Background(), checkpoint.Tree, claimed.Seq)
	if err != nil {
		return err
	}
	if !bytes.Equal(proof, torchwood.FormatProofWithExtraData(claimed.Seq, entry, hashes, signed)) {
		return errors.New("torchwood makes another proof")
	}
	return nil
}
