// Package hamba adapts github.com/hamba/avro/v2 to serde.Avro, for programs whose
// types already work with it:
//
//	serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(hamba.Codec{}))
//
// Prefer the default codec. hamba/avro says of itself that it is no longer
// maintained. Left alone it accepts about a quarter of all truncations of a
// record without an error and lets one array count end the process. The adapter
// closes what can be closed from outside:
//
//   - Every datum is first walked by the writer's schema, in this package's own
//     code: lengths, counts, block sizes, integer widths, booleans, enum and
//     union indexes and nesting are checked against the bytes that are there.
//     Only a datum that is whole reaches the library. So truncations and huge
//     counts are errors, at the cost of reading it twice.
//   - Schemas are checked for compatibility by github.com/twmb/avro before the
//     library resolves them: it overlooks, for one, a decimal of another scale.
//   - Schemas never enter the library's global cache, where one schema's named
//     types leak into the next one's; each compiled schema has its own cache of
//     decoders, which goes away with it.
//   - Two different schemas of which one contains itself are refused: resolving
//     them overflows the library's stack, which no program survives.
//   - An error that the library hides at the end of input is an error.
//   - A panic in the library is an error.
//
// What stays open:
//
//   - A field of the schema that the Go struct lacks is skipped when reading,
//     without an error. serde.Avro's check at Validate that the type fits the
//     schema is made for the default codec only.
//   - A value of a type that the library cannot map is found out by the first
//     record, not by Validate.
//   - Encoded values are not walked: what the library writes is taken as it is.
//   - Types registered with avro.Register, and converters, belong to one
//     avro.API: repeat them in Codec.Setup.
//   - Memory can be many times the record's size where the schema allows it, as
//     an array of small records of large Go structs does; MaxItems bounds it.
package hamba
