package pipeline

import "unsafe"

// arena hands encoders a place to append to. A chunk is never used again: what
// was put out may be kept by the sink until its transaction has ended, and the
// collector knows best when that is.
type arena struct{ free []byte }

const arenaChunk = 64 << 10

// open returns an empty slice with room behind it.
func (a *arena) open() []byte {
	if cap(a.free) < arenaChunk/8 {
		a.free = make([]byte, 0, arenaChunk)
	}
	return a.free[:0:cap(a.free)]
}

// close takes what an encoder made of dst. If it is in the chunk, even if the
// encoder returned a part of it only, what lies behind is used for the next.
func (a *arena) close(dst, enc []byte) []byte {
	if enc == nil {
		return nil
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(enc))) - uintptr(unsafe.Pointer(unsafe.SliceData(dst)))
	if len(enc) > 0 && start < uintptr(cap(dst)) {
		a.free = dst[int(start)+len(enc) : cap(dst)]
	}
	return enc[:len(enc):len(enc)]
}
