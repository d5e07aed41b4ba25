package history

import "sync"

// UnitID stands for a unit's name.
type UnitID uint32

// Units gives numbers to names, the same in all histories that share it. It is safe
// for concurrent use.
type Units struct {
	mu    sync.Mutex
	ids   map[string]UnitID
	names []string
}

// NewUnits returns an empty table.
func NewUnits() *Units { return &Units{ids: map[string]UnitID{}, names: []string{"none"}} }

// ID returns the number of a name, from 1 on.
func (u *Units) ID(name []byte) UnitID {
	u.mu.Lock()
	defer u.mu.Unlock()
	id, ok := u.ids[string(name)]
	if !ok {
		id = UnitID(len(u.names))
		u.names = append(u.names, string(name))
		u.ids[u.names[id]] = id
	}
	return id
}

// Known returns the number of a name that a record has had, or 0.
func (u *Units) Known(name string) UnitID {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ids[name]
}

// Name returns the name.
func (u *Units) Name(id UnitID) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.names[id]
}
