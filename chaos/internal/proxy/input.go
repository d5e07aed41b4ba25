package proxy

import (
	"errors"
	"net"
	"os"
)

// input is what a client sends. While a request is held back it is read on, into
// memory, because only reading tells whether the client is still there.
type input struct {
	p     *Proxy
	conn  net.Conn
	ahead []byte
	err   error // what ended it, after ahead
}

func (in *input) Read(b []byte) (int, error) {
	if len(in.ahead) > 0 {
		n := copy(b, in.ahead)
		in.ahead = in.ahead[n:]
		in.p.unreserve(n)
		return n, nil
	}
	if in.err != nil {
		return 0, in.err
	}
	return in.conn.Read(b)
}

// readAhead reads until the client is gone, too much is held, or a deadline is set. Nobody may
// read meanwhile.
func (in *input) readAhead() error {
	if in.err != nil {
		return in.err
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := in.conn.Read(buf)
		if n > 0 {
			if !in.p.reserve(n) {
				return ErrHeldTooMuch
			}
			in.ahead = append(in.ahead, buf[:n]...)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err != nil {
			in.err = err
			return err
		}
	}
}

// discard gives back what is left.
func (in *input) discard() {
	in.p.unreserve(len(in.ahead))
	in.ahead = nil
}
