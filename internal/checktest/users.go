package checktest

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Right is an operation on a resource that a user may be allowed, as in kafka-acls.
type Right struct {
	Operation    string // READ, WRITE, DESCRIBE, IDEMPOTENT_WRITE …
	ResourceType string // topic, group, transactional-id, cluster
	Resource     string // its name; kafka-cluster for the cluster
}

// String is what kafka-acls is given.
func (r Right) String() string { return r.Operation + " on " + r.ResourceType + " " + r.Resource }

// CreateUser gives a user a SCRAM-SHA-256 or SCRAM-SHA-512 password, the first or
// another.
func (c *Client) CreateUser(mechanism, user, password string) {
	c.t.Helper()
	const iterations = 4096
	number, size, h := int8(1), sha256.Size, func() hash.Hash { return sha256.New() }
	if mechanism == "SCRAM-SHA-512" {
		number, size, h = 2, sha512.Size, func() hash.Hash { return sha512.New() }
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	salted, err := pbkdf2.Key(h, password, salt, iterations, size)
	if err != nil {
		c.t.Fatalf("user %q: %v", user, err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = user, number, iterations, salt, salted
	req.Upsertions = append(req.Upsertions, up)
	ctx, cancel := c.context()
	defer cancel()
	resp, err := req.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("user %q: %v", user, err)
	}
}

// Grant allows a principal, such as User:alice, some operations, and returns when the
// broker knows.
func (c *Client) Grant(principal string, rights ...Right) {
	c.t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, r := range rights {
		a := kmsg.NewCreateACLsRequestCreation()
		a.ResourceType, a.ResourceName, a.ResourcePatternType = r.kind(c), r.Resource, kmsg.ACLResourcePatternTypeLiteral
		a.Principal, a.Host, a.Operation, a.PermissionType = principal, "*", r.operation(c), kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, a)
	}
	ctx, cancel := c.context()
	defer cancel()
	resp, err := req.RequestWith(ctx, c.k)
	for i := 0; err == nil && i < len(resp.Results); i++ {
		err = kerr.ErrorForCode(resp.Results[i].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("grant %s %v: %v", principal, rights, err)
	}
	for _, r := range rights {
		c.Await("the broker to know of "+r.String(), func() bool { return c.granted(principal, r) == 1 })
	}
}

// Revoke takes rights away that were granted, and returns when the broker knows.
func (c *Client) Revoke(principal string, rights ...Right) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, r := range rights {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = r.kind(c), &r.Resource, kmsg.ACLResourcePatternTypeLiteral
		f.Principal, f.Operation, f.PermissionType = &principal, r.operation(c), kmsg.ACLPermissionTypeAllow
		req.Filters = append(req.Filters, f)
	}
	ctx, cancel := c.context()
	defer cancel()
	resp, err := req.RequestWith(ctx, c.k)
	for i := 0; err == nil && i < len(resp.Results); i++ {
		if err = kerr.ErrorForCode(resp.Results[i].ErrorCode); err == nil && len(resp.Results[i].MatchingACLs) != 1 {
			c.t.Fatalf("revoke %v: %d were granted", rights[i], len(resp.Results[i].MatchingACLs))
		}
	}
	if err != nil {
		c.t.Fatalf("revoke %s %v: %v", principal, rights, err)
	}
	for _, r := range rights {
		c.Await("the broker to forget "+r.String(), func() bool { return c.granted(principal, r) == 0 })
	}
}

// granted counts a right of a principal, -1 if that fails.
func (c *Client) granted(principal string, r Right) int {
	c.t.Helper()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = r.kind(c), &r.Resource, kmsg.ACLResourcePatternTypeLiteral
	req.Principal, req.Operation, req.PermissionType = &principal, r.operation(c), kmsg.ACLPermissionTypeAllow
	ctx, cancel := c.context()
	defer cancel()
	resp, err := req.RequestWith(ctx, c.k)
	if err != nil || resp.ErrorCode != 0 {
		return -1
	}
	n := 0
	for _, res := range resp.Resources {
		n += len(res.ACLs)
	}
	return n
}

func (r Right) kind(c *Client) kmsg.ACLResourceType {
	c.t.Helper()
	k, err := kmsg.ParseACLResourceType(strings.ReplaceAll(r.ResourceType, "-", "_"))
	if err != nil {
		c.t.Fatalf("%v: %v", r, err)
	}
	return k
}

func (r Right) operation(c *Client) kmsg.ACLOperation {
	c.t.Helper()
	o, err := kmsg.ParseACLOperation(r.Operation)
	if err != nil {
		c.t.Fatalf("%v: %v", r, err)
	}
	return o
}
