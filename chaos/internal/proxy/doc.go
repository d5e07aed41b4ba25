// Package proxy stands between Kafka clients and brokers, understands the requests
// that pass, and harms them as it is told. It has a listener for each broker; the
// brokers must advertise these listeners' addresses, or clients go past it.
//
// A scenario adds a rule, waits until it has struck, and goes on:
//
//	hold := p.Hold(proxy.Match{APIKeys: []kmsg.Key{kmsg.EndTxn}, Count: 1})
//	go commit()                    // the client's
//	err := hold.Wait(ctx, 1)       // it is sent, and the broker has not got it
//	hold.Cut()                     // the client retries on a new connection
//	...
//	answers, err := hold.Release(ctx) // now it arrives: late
//
// [Proxy.Hold], [Proxy.Delay], [Proxy.Drop], [Proxy.Reset] and
// [Proxy.CutAfterApplied] strike single requests, which a [Match] selects.
// [Proxy.Blackhole], [Proxy.Latency], [Proxy.Rate] and [Proxy.Refuse] strike
// connections, and [Proxy.Cut] cuts all there are. All may be called at any time and
// by anybody.
//
// Without rules the proxy is transparent. What it takes for one connection is bounded
// at about 3 MiB, besides 4 MiB while a [Match] looks into a request; what it holds
// back is bounded over all connections by [Config.MaxHeld]. Frames of any size stream through.
package proxy
