//! What a completion says of its parts, and the checksum of the object that they make.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use s3s::dto::CompletedPart;
use s3s::{S3Result, s3_error};

use super::attributes::{self, COMPOSITE, FULL_OBJECT};
use super::checksums::{Algorithm, Fields, Sum, of_bytes};
use super::error::Unmet;
use super::objects::checksum_fields;
use crate::ghostbay::engine::MultipartUploadPart;
use crate::ghostbay::terms::UploadedPart;

/// The least bytes of a part that is not the last (S3, "Amazon S3 multipart upload limits").
const PART_BYTES_MIN: u64 = 5 << 20;

/// The checksum of the whole object that a completion names.
pub fn whole(fields: Fields<'_>) -> S3Result<Option<Sum>> {
    let mut found = fields.into_iter().filter_map(|(algorithm, value)| {
        Some(Sum {
            algorithm,
            value: value?.to_owned(),
        })
    });
    match (found.next(), found.next()) {
        (sum, None) => Ok(sum),
        _ => Err(s3_error!(InvalidRequest, "one checksum, not several")),
    }
}

/// The parts that a completion names, with the lengths that the store knows.
pub fn parts(
    named: &[CompletedPart],
    uploaded: &[MultipartUploadPart],
) -> S3Result<Vec<MultipartUploadPart>> {
    if named.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "a completion names at least one part"
        ));
    }
    let sizes: BTreeMap<i32, u64> = uploaded
        .iter()
        .map(|part| (part.part_number, part.size))
        .collect();
    named
        .iter()
        .map(|part| {
            let number = part.part_number;
            let number = number.ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
            let etag = part.e_tag.clone();
            let etag = etag.ok_or_else(|| s3_error!(MalformedXML, "part {number} has no ETag"))?;
            Ok(MultipartUploadPart {
                part_number: number,
                etag: etag.into_value(),
                // Of a part that is not there, what the store says of it counts.
                size: sizes.get(&number).copied().unwrap_or(0),
            })
        })
        .collect()
}

/// The checksums that a completion names for its parts.
pub fn sums(named: &[CompletedPart]) -> S3Result<BTreeMap<u32, Sum>> {
    let mut sums = BTreeMap::new();
    for part in named {
        let number = part
            .part_number
            .and_then(|number| u32::try_from(number).ok());
        if let (Some(number), Some(sum)) = (number, whole(checksum_fields!(part))?) {
            sums.insert(number, sum);
        }
    }
    Ok(sums)
}

/// Refuses parts that are too short.
pub fn check_sizes(parts: &[UploadedPart]) -> Result<(), Unmet> {
    let but_last = parts.split_last().map_or(parts, |(_, before)| before);
    match but_last.iter().find(|part| part.size < PART_BYTES_MIN) {
        Some(part) => Err(Unmet::TooSmall(part.number, part.size)),
        None => Ok(()),
    }
}

/// The checksum of an object of these parts, and its kind, by what the upload's `map` says: over the
/// checksums of the parts. What the completion names has to be the same.
pub fn checksum(
    parts: &[UploadedPart],
    map: &BTreeMap<String, String>,
    named: &BTreeMap<u32, Sum>,
    whole: Option<&Sum>,
) -> Result<Option<(Sum, &'static str)>, Unmet> {
    let mut known = Vec::new();
    for part in parts {
        let sum = attributes::checksum_of(&part.metadata).map(|(sum, _)| sum);
        if let Some(said) = named.get(&part.number)
            && sum.as_ref() != Some(said)
        {
            let number = part.number;
            let reason = format!("the checksum of part {number} is not the one that was named");
            return Err(Unmet::Checksum(reason));
        }
        known.extend(sum);
    }
    let wanted = attributes::upload_checksum_of(map);
    let (algorithm, kind) = match &wanted {
        Some((algorithm, kind)) if kind == COMPOSITE => (*algorithm, COMPOSITE),
        Some((algorithm, _)) => (*algorithm, FULL_OBJECT),
        None => (Algorithm::Crc64Nvme, FULL_OBJECT),
    };
    let is_complete =
        known.len() == parts.len() && known.iter().all(|sum| sum.algorithm == algorithm);
    let sum = match (is_complete, kind) {
        (false, _) => None,
        (true, COMPOSITE) => composite(algorithm, &known),
        (true, _) => combined(algorithm, parts, &known),
    };
    if let Some(said) = whole {
        let reason = match &sum {
            Some(sum) if is_same(sum, said) => None,
            Some(_) => Some("the checksum of the object is not the one that was named"),
            // A part that was copied has none.
            None => Some("the checksum that was named cannot be compared: not every part has one"),
        };
        if let Some(reason) = reason {
            return Err(Unmet::Checksum(reason.to_owned()));
        }
    }
    Ok(sum.map(|sum| (sum, kind)))
}

/// Whether a checksum is what was said. The number of parts need not be.
fn is_same(sum: &Sum, said: &Sum) -> bool {
    let without_number = |text: &str| text.split('-').next().unwrap_or_default().to_owned();
    sum.algorithm == said.algorithm
        && (sum.value == said.value || without_number(&sum.value) == said.value)
}

/// The checksum over the parts' checksums, and their number.
fn composite(algorithm: Algorithm, parts: &[Sum]) -> Option<Sum> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(STANDARD.decode(&part.value).ok()?);
    }
    let value = STANDARD.encode(of_bytes(algorithm, &bytes));
    Some(Sum {
        algorithm,
        value: format!("{value}-{}", parts.len()),
    })
}

/// The checksum that the whole content has, of the checksums and lengths of its parts.
fn combined(algorithm: Algorithm, parts: &[UploadedPart], sums: &[Sum]) -> Option<Sum> {
    let of = match algorithm {
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Sha1 | Algorithm::Sha256 => return None,
    };
    let number = |sum: &Sum| {
        let bytes = STANDARD.decode(&sum.value).ok()?;
        Some(
            bytes
                .iter()
                .fold(0u64, |number, byte| number << 8 | u64::from(*byte)),
        )
    };
    let mut all: Option<u64> = None;
    for (part, sum) in parts.iter().zip(sums) {
        let next = number(sum)?;
        all = Some(match all {
            None => next,
            Some(before) => crc_fast::checksum_combine(of, before, next, part.size),
        });
    }
    let bytes = all?.to_be_bytes();
    let value = STANDARD.encode(&bytes[bytes.len() - algorithm.length()..]);
    Some(Sum { algorithm, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, content: &[u8]) -> Sum {
        Sum {
            algorithm,
            value: STANDARD.encode(of_bytes(algorithm, content)),
        }
    }

    fn part(number: u32, size: u64) -> UploadedPart {
        UploadedPart {
            number,
            size,
            etag: String::new(),
            modified_ms: 0,
            metadata: BTreeMap::new(),
        }
    }

    /// An upload of three parts, checked by that.
    fn upload(algorithm: Algorithm, kind: &str) -> (Vec<UploadedPart>, BTreeMap<String, String>) {
        let contents: [&[u8]; 3] = [b"one", b"twotwo", b"x"];
        let map = BTreeMap::from([attributes::upload_checksum(algorithm, kind)]);
        let parts = contents.iter().zip([1, 5, 9]).map(|(content, number)| {
            let sum = attributes::checksum(&sum(algorithm, content), FULL_OBJECT);
            UploadedPart {
                metadata: BTreeMap::from([sum]),
                ..part(number, content.len() as u64)
            }
        });
        (parts.collect(), map)
    }

    #[test]
    fn the_checksum_of_the_whole_is_that_of_the_joined_content() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let (parts, map) = upload(algorithm, FULL_OBJECT);
            let found = checksum(&parts, &map, &BTreeMap::new(), None).unwrap();
            let expected = sum(algorithm, b"onetwotwox");
            assert_eq!(found, Some((expected.clone(), FULL_OBJECT)));
            let named = Some(&expected);
            assert!(checksum(&parts, &map, &BTreeMap::new(), named).is_ok());
            let other = sum(algorithm, b"other");
            assert!(checksum(&parts, &map, &BTreeMap::new(), Some(&other)).is_err());
        }
    }

    #[test]
    fn a_composite_is_over_the_checksums() {
        for algorithm in [Algorithm::Crc32, Algorithm::Sha1, Algorithm::Sha256] {
            let (parts, map) = upload(algorithm, COMPOSITE);
            let (found, kind) = checksum(&parts, &map, &BTreeMap::new(), None)
                .unwrap()
                .unwrap();
            let mut bytes = of_bytes(algorithm, b"one");
            bytes.extend(of_bytes(algorithm, b"twotwo"));
            bytes.extend(of_bytes(algorithm, b"x"));
            let expected = format!("{}-3", sum(algorithm, &bytes).value);
            assert_eq!((found.value, kind), (expected, COMPOSITE));
        }
    }

    #[test]
    fn what_a_completion_names_has_to_be_what_came() {
        let (parts, map) = upload(Algorithm::Sha1, COMPOSITE);
        let named = BTreeMap::from([(5, sum(Algorithm::Sha1, b"twotwo"))]);
        assert!(checksum(&parts, &map, &named, None).is_ok());
        let named = BTreeMap::from([(5, sum(Algorithm::Sha1, b"other"))]);
        assert!(checksum(&parts, &map, &named, None).is_err());
    }

    #[test]
    fn a_checksum_that_cannot_be_compared_is_not_taken_for_right() {
        let (mut parts, map) = upload(Algorithm::Crc32, FULL_OBJECT);
        // As behind a part that was copied.
        parts[1].metadata.clear();
        let none = BTreeMap::new();
        assert_eq!(checksum(&parts, &map, &none, None).unwrap(), None);
        let said = sum(Algorithm::Crc32, b"onetwotwox");
        assert!(checksum(&parts, &map, &none, Some(&said)).is_err());
    }

    #[test]
    fn only_the_last_part_may_be_short() {
        assert!(check_sizes(&[part(1, PART_BYTES_MIN), part(2, 1)]).is_ok());
        assert!(check_sizes(&[part(1, PART_BYTES_MIN - 1), part(2, 1)]).is_err());
        assert!(check_sizes(&[part(1, 0)]).is_ok());
    }
}
