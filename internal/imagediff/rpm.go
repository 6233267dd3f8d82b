package imagediff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The databases of rpm, read from memory. What there are in libraries wants
// files on disk, and panics or runs for ever on what somebody made to that end.
//
// Each of the three keeps the header of each package as a blob:
//   - SQLite, in the table Packages (https://sqlite.org/fileformat2.html);
//   - ndb, rpm's own (rpm 4.17, lib/backend/ndb/rpmpkg.c);
//   - Berkeley DB, as values of a hash (Berkeley DB 5.3, src/dbinc/db_page.h).

// maxDatabase is how large an rpm database may be. That of a whole desktop has
// some 100 MB.
const maxDatabase = 128 << 20

var errDatabase = errors.New("the rpm database is damaged")

// rpm reads an rpm database. The error is one of reading, or of a limit.
func (r *layerReader) rpm(file io.Reader, size int64, into *content) error {
	if size > maxDatabase {
		into.unread = fmt.Sprintf("the rpm database is larger than %d bytes", maxDatabase)
		return nil
	}
	db := make([]byte, size)
	if _, err := io.ReadFull(file, db); err != nil {
		return err
	}
	read := r.berkeley
	switch {
	case size == 0:
		return nil
	case bytes.HasPrefix(db, []byte("SQLite format 3\x00")):
		read = r.sqlite
	case bytes.HasPrefix(db, []byte("RpmP")):
		read = r.ndb
	}
	err := read(db, into)
	if errors.Is(err, errDatabase) {
		into.packages, into.unread = nil, errDatabase.Error()
		return nil
	}
	return err
}

// The tags of a package's header that are its name and its version (rpm's
// lib/rpmtag.h), and the types of their values.
const (
	tagName, tagVersion, tagRelease, tagEpoch, tagArch = 1000, 1001, 1002, 1003, 1022

	tagInt32, tagString = 4, 6
)

// header reads the header of a package (rpm's "Package File Format", "Header").
func (r *layerReader) header(b []byte, into *content) error {
	if len(b) < 8 {
		return errDatabase
	}
	entries, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if b = b[8:]; entries*16+size > uint64(len(b)) {
		return errDatabase
	}
	index, data := b[:entries*16], b[entries*16:]
	var name, version, release, epoch, arch string
	for ; len(index) > 0; index = index[16:] {
		tag, kind, at := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:]), uint64(binary.BigEndian.Uint32(index[8:]))
		if at > uint64(len(data)) {
			continue // Only those below are of interest.
		}
		value := data[at:]
		text := func(s *string) {
			if end := bytes.IndexByte(value[:min(len(value), maxField)], 0); kind == tagString && end >= 0 {
				*s = string(value[:end])
			}
		}
		switch tag {
		case tagName:
			text(&name)
		case tagVersion:
			text(&version)
		case tagRelease:
			text(&release)
		case tagArch:
			text(&arch)
		case tagEpoch:
			if kind == tagInt32 && len(value) >= 4 {
				epoch = strconv.FormatUint(uint64(binary.BigEndian.Uint32(value)), 10) + ":"
			}
		}
	}
	if name == "" {
		return errDatabase
	}
	version = epoch + version + "-" + release
	if arch != "" {
		version += "." + arch
	}
	return r.add(into, name, version)
}

// paged is a file of pages, each of which is used once.
type paged struct {
	b    []byte
	size uint64
	used int
}

// page is the n-th page, from 0.
func (p *paged) page(n uint64) ([]byte, error) {
	if p.used++; uint64(p.used) > uint64(len(p.b))/p.size+1 || n >= uint64(len(p.b))/p.size {
		return nil, errDatabase
	}
	return p.b[n*p.size : (n+1)*p.size], nil
}

// sqliteFile is an SQLite file.
type sqliteFile struct {
	paged

	usable uint64 // of a page
}

func (r *layerReader) sqlite(b []byte, into *content) error {
	if len(b) < 512 {
		return errDatabase
	}
	size := uint64(binary.BigEndian.Uint16(b[16:]))
	if size == 1 {
		size = 64 << 10
	}
	if size < 512 || size&(size-1) != 0 || size-uint64(b[20]) < 480 {
		return errDatabase
	}
	db := &sqliteFile{paged{b: b, size: size}, size - uint64(b[20])}
	// The schema is a table of type, name, table, root page and SQL.
	var root uint64
	err := db.rows(1, 0, func(row []byte) error {
		values, err := record5(row)
		if err == nil && string(values[0]) == "table" && string(values[1]) == "Packages" {
			root = 0
			for _, c := range values[3] {
				root = root<<8 | uint64(c)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return errDatabase
	}
	db.used = 0
	return db.rows(root, 0, func(row []byte) error {
		values, err := record5(row)
		if err != nil {
			return err
		}
		return r.header(values[1], into)
	})
}

// maxTree is how deep a tree of SQLite can be.
const maxTree = 20

// rows calls each with the rows of a table, by its root page.
func (db *sqliteFile) rows(page uint64, depth int, each func([]byte) error) error {
	if page == 0 || depth > maxTree {
		return errDatabase
	}
	b, err := db.page(page - 1)
	if err != nil {
		return err
	}
	head := b
	if page == 1 {
		head = b[100:] // after the header of the file
	}
	leaf := head[0] == 0x0d
	if !leaf && head[0] != 0x05 {
		return errDatabase
	}
	cells, pointers := int(binary.BigEndian.Uint16(head[3:])), head[8:]
	if !leaf {
		pointers = head[12:]
	}
	if len(pointers) < 2*cells {
		return errDatabase
	}
	for i := range cells {
		at := uint64(binary.BigEndian.Uint16(pointers[2*i:]))
		if at+4 > db.size {
			return errDatabase
		}
		if !leaf {
			if err := db.rows(uint64(binary.BigEndian.Uint32(b[at:])), depth+1, each); err != nil {
				return err
			}
			continue
		}
		row, err := db.payload(b, at)
		if err == nil {
			err = each(row)
		}
		if err != nil {
			return err
		}
	}
	if leaf {
		return nil
	}
	return db.rows(uint64(binary.BigEndian.Uint32(head[8:])), depth+1, each)
}

// payload is a row of a leaf page, put together from its overflow pages.
func (db *sqliteFile) payload(page []byte, at uint64) ([]byte, error) {
	cell := page[at:db.usable]
	size, n := varint(cell)
	if n == 0 || size > uint64(len(db.b)) {
		return nil, errDatabase
	}
	cell = cell[n:]
	if _, n = varint(cell); n == 0 {
		return nil, errDatabase
	}
	cell = cell[n:]
	local := size
	if size > db.usable-35 {
		least := (db.usable-12)*32/255 - 23
		local = least + (size-least)%(db.usable-4)
		if local > db.usable-35 {
			local = least
		}
	}
	if local > uint64(len(cell)) {
		return nil, errDatabase
	}
	if local == size {
		return cell[:size], nil
	}
	if local+4 > uint64(len(cell)) {
		return nil, errDatabase
	}
	row := append(make([]byte, 0, size), cell[:local]...)
	next := uint64(binary.BigEndian.Uint32(cell[local:]))
	for uint64(len(row)) < size {
		if next == 0 {
			return nil, errDatabase
		}
		b, err := db.page(next - 1)
		if err != nil {
			return nil, err
		}
		next = uint64(binary.BigEndian.Uint32(b))
		row = append(row, b[4:min(db.usable, 4+size-uint64(len(row)))]...)
	}
	return row, nil
}

// varint is SQLite's: at most nine bytes, the highest first. n is 0 where
// there is none.
func varint(b []byte) (v uint64, n int) {
	for i := 0; i < len(b) && i < 9; i++ {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// record5 are the bytes of the first five values of a row.
func record5(row []byte) (values [5][]byte, err error) {
	head, n := varint(row)
	if n == 0 || head < uint64(n) || head > uint64(len(row)) {
		return values, errDatabase
	}
	types, body := row[n:head], row[head:]
	for i := range values {
		if len(types) == 0 {
			break
		}
		t, n := varint(types)
		if n == 0 {
			return values, errDatabase
		}
		types = types[n:]
		size := uint64(0)
		switch {
		case t <= 4:
			size = t
		case t == 5:
			size = 6
		case t == 6 || t == 7:
			size = 8
		case t >= 12:
			size = (t - 12) / 2
		}
		if size > uint64(len(body)) {
			return values, errDatabase
		}
		values[i], body = body[:size], body[size:]
	}
	return values, nil
}

// ndb reads rpm's own database: pages of slots, each with the place of a blob.
func (r *layerReader) ndb(b []byte, into *content) error {
	const page, slot, block, head = 4096, 16, 16, 16
	if len(b) < 32 || binary.LittleEndian.Uint32(b[4:]) != 0 {
		return errDatabase
	}
	slots := uint64(binary.LittleEndian.Uint32(b[12:])) * page
	if slots > uint64(len(b)) {
		return errDatabase
	}
	read := uint64(0)
	for at := uint64(2 * slot); at+slot <= slots; at += slot {
		s := b[at:]
		number, offset := binary.LittleEndian.Uint32(s[4:]), uint64(binary.LittleEndian.Uint32(s[8:]))*block
		if string(s[:4]) != "Slot" {
			return errDatabase
		}
		if number == 0 {
			continue
		}
		if offset+head > uint64(len(b)) || string(b[offset:offset+4]) != "BlbS" || binary.LittleEndian.Uint32(b[offset+4:]) != number {
			return errDatabase
		}
		size := uint64(binary.LittleEndian.Uint32(b[offset+12:]))
		// Blobs do not overlap.
		if read += size; offset+head+size > uint64(len(b)) || read > uint64(len(b)) {
			return errDatabase
		}
		if err := r.header(b[offset+head:offset+head+size], into); err != nil {
			return err
		}
	}
	return nil
}

// berkeley reads a hash of Berkeley DB, whose values are packages.
func (r *layerReader) berkeley(b []byte, into *content) error {
	const (
		magic    = 0x00061561
		hashPage = 13
		oldPage  = 2 // of versions before 4.6
		overflow = 7
		inPage   = 1
		offPage  = 3
		head     = 26
		// counter is the size of the value that is the number of the last
		// package.
		counter = 4
	)
	if len(b) < 512 {
		return errDatabase
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(b[12:]) != magic {
		order = binary.BigEndian
	}
	size := uint64(order.Uint32(b[20:]))
	if order.Uint32(b[12:]) != magic || size < 512 || size > 64<<10 || size&(size-1) != 0 {
		into.unread = "the rpm database is of an unknown format"
		return nil
	}
	db := &paged{b: b, size: size}
	for n := uint64(1); n < uint64(len(b))/size; n++ {
		page := b[n*size : (n+1)*size]
		if page[25] != hashPage && page[25] != oldPage {
			continue
		}
		items := int(order.Uint16(page[20:]))
		if items%2 != 0 || head+2*items > len(page) {
			return errDatabase
		}
		end := len(page)
		for i := range items { // keys and values by turns
			at := int(order.Uint16(page[head+2*i:]))
			if at >= end {
				return errDatabase
			}
			item := page[at:end]
			if end = at; i%2 == 0 {
				continue
			}
			var value []byte
			switch {
			case item[0] == inPage && len(item) > 1+counter:
				value = item[1:]
			case item[0] == offPage && len(item) >= 12:
				length := uint64(order.Uint32(item[8:]))
				for next := uint64(order.Uint32(item[4:])); next != 0; {
					p, err := db.page(next)
					if err != nil || p[25] != overflow {
						return errDatabase
					}
					used := uint64(order.Uint16(p[22:]))
					if head+used > size {
						return errDatabase
					}
					value = append(value, p[head:head+used]...)
					next = uint64(order.Uint32(p[16:]))
				}
				if uint64(len(value)) != length {
					return errDatabase
				}
			default:
				continue
			}
			if err := r.header(value, into); err != nil {
				return err
			}
		}
	}
	return nil
}
