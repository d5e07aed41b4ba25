// Package cluster runs three real brokers behind a proxy, for a scenario to harm.
//
//	c, err := cluster.Start(ctx, cluster.Config{Libs: libs}) // what scripts/kafka-libs prints
//	defer c.Close()
//	err = c.CreateTopics(ctx, 6, "orders")
//	worker(c.Bootstrap())            // what is tested: through the proxies
//	reader(c.Direct())               // the harness's own clients: past them
//	node, err := c.Leader(ctx, "orders", 0)
//	err = c.Kill(node)               // kill -9
//	rule := c.Proxy().Blackhole(1)   // what a network does, see package proxy
//	...
//	err = c.Restart(ctx, node)
//	err = c.Ready(ctx)               // whole again: every replica in sync
//
// The brokers are combined ones (KRaft), of replication factor 3 and min.insync.replicas
// 2, with listeners of three kinds besides the controllers'. A client is always told the
// addresses of the listener on which it asks: CLIENT advertises the proxy's address,
// DIRECT its own, and INTERNAL is what brokers use among themselves, so that faults of
// the proxy never reach replication.
//
// Isolated brokers are each in a network namespace of their own, which needs Linux and a
// program that is root of a network and of mounts of its own. They are told apart from
// each other, and the proxy from the harness, so that more can go wrong:
//
//	heal, err := c.Partition([]int32{1}, []int32{2, 3}) // between brokers, not for clients
//	restore, err := c.Deny(ctx, kmsg.ACLResourceTypeTopic, "orders", kmsg.ACLOperationWrite)
//	err = c.FillDisk(ctx, 2)         // with Config.Disk; it ends of that:
//	err = c.AwaitEnd(ctx, 2)
//	err = c.FreeDisk(2)
//	err = c.Restart(ctx, 2)
//
// Nothing survives: Close kills the brokers and waits for them, and on Linux the kernel
// kills them with the process that started them, however that ends. Namespaces and
// what is mounted in them are gone with the last process in them.
package cluster
