package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// directory is a tlog-tiles directory, or a server of one, and the tree that its checkpoint commits to.
// It is the TileReader of a tlog.TileHashReader; tiles holds what that has authenticated.
type directory struct {
	from  source
	tree  tlog.Tree
	plain bool // whether entries are any bytes, and no tlog's
	tiles map[tlog.Tile][]byte
}

func (d *directory) Height() int { return tileHeight }

func (d *directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if known, ok := d.tiles[tile]; ok {
			data[i] = known
			continue
		}
		read, err := d.from.read(tilePath(tile))
		if err != nil {
			return nil, err
		}
		data[i] = read
	}
	return data, nil
}

func (d *directory) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, tile := range tiles {
		d.tiles[tile] = data[i]
	}
}

func (d *directory) hashes() tlog.HashReader { return tlog.TileHashReader(d.tree, d) }

// tilePath is the path that tlog-tiles gives a tile: x/mod puts the height before the level.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tile.H))
}

// parseTilePath is tilePath's inverse.
func parseTilePath(path string) (tlog.Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return tlog.Tile{}, fmt.Errorf("%s is not a tile", path)
	}
	return tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, rest))
}

// checkEntries checks every entry: its leaf hash is in the tree, and it continues the chain of hashes.
// Asking for every leaf hash also makes the tile reader authenticate every tile of the tree.
func (d *directory) checkEntries(report *Report) error {
	chain := &chain{previous: strings.Repeat("0", 2*sha256.Size)}
	for start := int64(0); start < d.tree.N; start += tileWidth {
		end := min(start+tileWidth, d.tree.N)
		tile := tlog.Tile{H: tileHeight, N: start / tileWidth, W: int(end - start)}
		name := strings.Replace(tilePath(tile), "tile/0/", "tile/entries/", 1)
		bundle, err := d.from.read(name)
		if err != nil {
			return err
		}
		entries, err := splitBundle(bundle, tile.W)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		indexes := make([]int64, tile.W)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, start+int64(i))
		}
		leaves, err := d.hashes().ReadHashes(indexes)
		if err != nil {
			return fmt.Errorf("tiles for entries %d to %d: %w", start, end-1, err)
		}
		for i, entry := range entries {
			seq := start + int64(i)
			if tlog.RecordHash(entry) != leaves[i] {
				return fmt.Errorf("%s: entry %d is not the one in the tree", name, seq)
			}
			if err := chain.follow(entry, seq); err != nil && !d.plain {
				return fmt.Errorf("%s: entry %d: %w", name, seq, err)
			}
			report.Entries++
		}
		report.Bundles++
	}
	return nil
}

// splitBundle returns the entries of a bundle, each behind its length in two bytes.
func splitBundle(bundle []byte, count int) ([][]byte, error) {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
			return nil, errors.New("the last entry is cut off")
		}
		length := 2 + int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:length])
		bundle = bundle[length:]
	}
	if len(entries) != count {
		return nil, fmt.Errorf("holds %d entries, not %d", len(entries), count)
	}
	return entries, nil
}

// chain is what an entry must fit to: its predecessor's hash, time and partition.
type chain struct {
	previous, ts, partition string
}

func (c *chain) follow(line []byte, seq int64) error {
	var entry struct {
		Seq       int64           `json:"seq"`
		TS        string          `json:"ts"`
		Partition string          `json:"partition"`
		PrevHash  string          `json:"prev_hash"`
		Meta      json.RawMessage `json:"meta"`
		Data      json.RawMessage `json:"data"`
		Hash      string          `json:"hash"`
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entry); err != nil {
		return err
	}
	if decoder.InputOffset() != int64(len(line)) {
		return errors.New("has bytes after the JSON object")
	}
	if seq == 0 {
		c.partition = entry.Partition
	}
	hashed, ok := bytes.CutSuffix(line, fmt.Appendf(nil, `,"hash":"%s"}`, entry.Hash))
	sum := sha256.Sum256(hashed)
	switch {
	case entry.Seq != seq:
		return fmt.Errorf("seq is %d", entry.Seq)
	case entry.Partition != c.partition:
		return fmt.Errorf("partition is %q, before it was %q", entry.Partition, c.partition)
	case entry.TS < c.ts:
		return fmt.Errorf("ts %s is earlier than %s before it", entry.TS, c.ts)
	case entry.Data == nil:
		return errors.New("has no data")
	case entry.PrevHash != c.previous:
		return fmt.Errorf("prev_hash is %s, the entry before hashes to %s", entry.PrevHash, c.previous)
	case !ok || entry.Hash != hex.EncodeToString(sum[:]):
		return fmt.Errorf("hash is %s, the bytes before it hash to %x", entry.Hash, sum)
	}
	c.previous, c.ts = entry.Hash, entry.TS
	return nil
}

// checkTileFiles checks that the directory holds no hash tile but those of the tree: each file is an authenticated
// tile, or, where it is a partial tile of an earlier size, the start of one.
func (d *directory) checkTileFiles(path string, report *Report) error {
	widest := make(map[tlog.Tile][]byte)
	for tile, data := range d.tiles {
		tile.W = 0
		if len(data) > len(widest[tile]) {
			widest[tile] = data
		}
	}
	seen := 0
	err := filepath.WalkDir(filepath.Join(path, "tile"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, file)
		if err != nil || strings.HasPrefix(name, "tile/entries/") {
			return err
		}
		tile, err := parseTilePath(name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, ok := d.tiles[tile]; ok {
			seen++
		}
		width := tile.W
		tile.W = 0
		if len(data) != width*tlog.HashSize || !bytes.HasPrefix(widest[tile], data) {
			return fmt.Errorf("%s is not a tile of this tree", name)
		}
		report.HashTiles++
		return nil
	})
	if err == nil && seen != len(d.tiles) {
		err = fmt.Errorf("%d tiles were authenticated, %d of them were found again", len(d.tiles), seen)
	}
	if errors.Is(err, fs.ErrNotExist) && d.tree.N == 0 {
		return nil
	}
	return err
}

// checkTilesServed checks that every tile that the tree has, at every level, was fetched and authenticated.
func (d *directory) checkTilesServed(report *Report) error {
	tiles := tlog.NewTiles(tileHeight, 0, d.tree.N)
	for _, tile := range tiles {
		if _, ok := d.tiles[tile]; !ok {
			return fmt.Errorf("%s was not authenticated", tilePath(tile))
		}
	}
	if len(tiles) != len(d.tiles) {
		return fmt.Errorf("%d tiles were authenticated, the tree has %d", len(d.tiles), len(tiles))
	}
	report.HashTiles = len(tiles)
	return nil
}
