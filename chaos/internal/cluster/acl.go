//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// authorization are the properties by which brokers heed ACLs. There are none at first, and
// everybody may do everything. Controllers know ACLs only when they have a quorum, for which
// they must ask each other: so they have a name, and one that needs no ACL.
var authorization = map[string]string{
	"authorizer.class.name":                            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
	"allow.everyone.if.no.acl.found":                   "true",
	"super.users":                                      "User:controller",
	"listener.security.protocol.map":                   "CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
	"sasl.mechanism.controller.protocol":               "PLAIN",
	"listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
	"listener.name.controller.plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required ` +
		`username="controller" password="controller" user_controller="controller";`,
}

// undoTimeout bounds the undoing of a Deny that has failed.
const undoTimeout = 30 * time.Second

// resource is what ACLs are of.
type resource struct {
	kind kmsg.ACLResourceType
	name string
}

func (r resource) String() string { return fmt.Sprintf("%v %s", r.kind, r.name) }

// rule is one ACL of a resource, for every user.
type rule struct {
	operation  kmsg.ACLOperation
	permission kmsg.ACLPermissionType
	host       string
}

// rest lets everybody do everything who is not denied it. Without it nobody might do
// anything any more with a resource that has ACLs.
var rest = rule{kmsg.ACLOperationAll, kmsg.ACLPermissionTypeAllow, "*"}

// Deny denies operations on a topic, group or transactional.id to whoever comes through the
// proxy, until restore is called. It returns when the brokers that run, do not stand still
// and are not cut off know it, and restore does when they have forgotten it. There is one
// Deny at a time for a resource. A restore that has failed can be repeated; one more after
// success is harmless.
func (c *Cluster) Deny(ctx context.Context, kind kmsg.ACLResourceType, name string, ops ...kmsg.ACLOperation) (restore func(context.Context) error, err error) {
	if c.net == nil {
		return nil, errors.New("cluster: only an isolated cluster tells its clients apart")
	}
	r := resource{kind, name}
	if !c.claim(r) {
		return nil, fmt.Errorf("cluster: operations on %v are denied already", r)
	}
	if err := c.deny(ctx, r, ops); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("deny %v on %v: %w", ops, r, err), c.allow(ctx, r))
	}
	c.log.Info("denied", "resource", r, "operations", ops)
	var mu sync.Mutex
	restored := false
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if restored {
			return nil
		}
		if err := c.allow(ctx, r); err != nil {
			return err
		}
		restored = true
		c.log.Info("allowed", "resource", r)
		return nil
	}, nil
}

func (c *Cluster) claim(r resource) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.denied[r] {
		return false
	}
	c.denied[r] = true
	return true
}

// deny lets everybody do everything first: in the other order the harness's own clients
// would be denied it for a moment.
func (c *Cluster) deny(ctx context.Context, r resource, ops []kmsg.ACLOperation) error {
	if err := c.add(ctx, r, rest); err != nil {
		return err
	}
	var denials []rule
	for _, op := range ops {
		denials = append(denials, rule{op, kmsg.ACLPermissionTypeDeny, proxyHost.String()})
	}
	return c.add(ctx, r, denials...)
}

// allow removes all ACLs of a resource, in the order that is the reverse of deny's.
func (c *Cluster) allow(ctx context.Context, r resource) error {
	for _, which := range []kmsg.ACLPermissionType{kmsg.ACLPermissionTypeDeny, kmsg.ACLPermissionTypeAllow} {
		if err := c.drop(ctx, r, which); err != nil {
			return fmt.Errorf("allow everything on %v: %w", r, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.denied, r)
	return nil
}

// add creates ACLs, and returns when the brokers know them.
func (c *Cluster) add(ctx context.Context, r resource, rules ...rule) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, one := range rules {
		acl := kmsg.NewCreateACLsRequestCreation()
		acl.ResourceType, acl.ResourceName, acl.Principal = r.kind, r.name, "User:*"
		acl.Operation, acl.PermissionType, acl.Host = one.operation, one.permission, one.host
		req.Creations = append(req.Creations, acl)
	}
	err := c.any(ctx, func(b *broker) error {
		resp, err := b.ask(ctx, req)
		if err != nil {
			return err
		}
		for _, result := range resp.(*kmsg.CreateACLsResponse).Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, func(b *broker) error {
		known, err := b.rules(ctx, r)
		if err != nil {
			return err
		}
		for _, one := range rules {
			if !slices.Contains(known, one) {
				return fmt.Errorf("does not know ACL %v", one)
			}
		}
		return nil
	})
}

// drop deletes the ACLs of a resource that allow or those that deny something, and returns
// when the brokers have forgotten them.
func (c *Cluster) drop(ctx context.Context, r resource, which kmsg.ACLPermissionType) error {
	req := kmsg.NewPtrDeleteACLsRequest()
	filter := kmsg.NewDeleteACLsRequestFilter()
	filter.ResourceType, filter.ResourceName = r.kind, &r.name
	filter.Operation, filter.PermissionType = kmsg.ACLOperationAny, which
	req.Filters = append(req.Filters, filter)
	err := c.any(ctx, func(b *broker) error {
		resp, err := b.ask(ctx, req)
		if err != nil {
			return err
		}
		for _, result := range resp.(*kmsg.DeleteACLsResponse).Results {
			if err := kerr.ErrorForCode(result.ErrorCode); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, func(b *broker) error {
		known, err := b.rules(ctx, r)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(known, func(one rule) bool { return one.permission == which }) {
			return fmt.Errorf("knows ACLs still: %v", known)
		}
		return nil
	})
}

// rules are the ACLs of a resource in a broker's view.
func (b *broker) rules(ctx context.Context, r resource) (known []rule, err error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = r.kind, &r.name, kmsg.ACLResourcePatternTypeLiteral
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	resp, err := b.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	acls := resp.(*kmsg.DescribeACLsResponse)
	for _, res := range acls.Resources {
		for _, acl := range res.ACLs {
			known = append(known, rule{acl.Operation, acl.PermissionType, acl.Host})
		}
	}
	return known, kerr.ErrorForCode(acls.ErrorCode)
}
