// Package watermill brings Watermill applications to Leat.
//
// [Publisher] and [Subscriber] are Watermill's Pub/Sub on Leat's producer and source, in
// the place of github.com/ThreeDotsLabs/watermill-kafka/v3: configurations, messages and
// what is read from a message's context are the same, and both read each other's
// messages. A Router goes on as it is, at least once, one message of a partition at a
// time.
//
// In a pipeline, [Handler] runs a Router's handler as a stage, exactly once, [Middleware]
// puts Watermill's middleware around it, and what it publishes by an [Outbox] joins the
// transaction. [Messages] is the serde of their messages.
//
// Packages sources/watermill and sinks/watermill make any Subscriber and Publisher an end
// of a pipeline.
package watermill
