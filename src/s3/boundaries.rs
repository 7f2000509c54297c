//! Where the parts of an object lie that was made of some, as texts in what is said of it. They are never
//! more than 10,000, and mostly of one size: `:parts` holds runs of consecutive numbers and of one size,
//! such as `1-99:5242880 100-100:17`. `:part-sums` holds the checksums of all, one behind the other, as
//! `SHA256 <base64>`, where the upload was begun with a checksum.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::attributes::{self, PART_SUMS, PARTS};
use super::checksums::{Algorithm, Sum};
use crate::ghostbay::engine::ObjectInfo;
use crate::ghostbay::terms::UploadedPart;

/// The greatest number of a part.
const PART_NUMBER_MAX: i32 = 10_000;

/// A part of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartOfObject {
    /// Its number.
    pub number: u32,
    /// Its place in the object, in bytes.
    pub range: Range<u64>,
    /// Its checksum, where the upload was begun with one.
    pub sum: Option<Sum>,
}

/// The parts of an object, by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boundaries(pub Vec<PartOfObject>);

/// How an object was made.
pub enum Made {
    /// At once.
    Whole,
    /// Of these parts.
    OfParts(Boundaries),
    /// Of that many parts, by a version that did not keep them.
    OfUnknown(usize),
}

/// What a request is answered with that asks for a part.
pub struct Asked {
    /// The part's place in the object, in bytes.
    pub range: Range<u64>,
    /// How many parts there are, of an object that was made of some.
    pub count: Option<usize>,
    /// The checksum of the part.
    pub sum: Option<Sum>,
}

impl Boundaries {
    /// Those of the object that these parts make; `map` is what is said of their upload.
    pub fn of_upload(parts: &[UploadedPart], map: &BTreeMap<String, String>) -> Self {
        let wanted = attributes::upload_checksum_of(map).map(|(algorithm, _)| algorithm);
        let mut start = 0;
        let parts = parts.iter().map(|part| {
            let range = start..start + part.size;
            start = range.end;
            let sum = attributes::checksum_of(&part.metadata).map(|(sum, _)| sum);
            PartOfObject {
                number: part.number,
                range,
                sum: sum.filter(|sum| Some(sum.algorithm) == wanted),
            }
        });
        Boundaries(parts.collect())
    }

    /// Notes them with what is said of the object.
    pub fn note(&self, map: &mut BTreeMap<String, String>) {
        let mut runs: Vec<(u32, u32, u64)> = Vec::new();
        for part in &self.0 {
            let size = part.range.end - part.range.start;
            match runs.last_mut() {
                Some((_, last, same)) if *same == size && *last + 1 == part.number => *last += 1,
                _ => runs.push((part.number, part.number, size)),
            }
        }
        let runs = runs.iter();
        let runs: Vec<_> = runs
            .map(|(first, last, size)| format!("{first}-{last}:{size}"))
            .collect();
        map.insert(PARTS.to_owned(), runs.join(" "));
        let mut bytes = Vec::new();
        for part in &self.0 {
            let Some(sum) = &part.sum else { return };
            bytes.extend(STANDARD.decode(&sum.value).unwrap_or_default());
        }
        if let Some(sum) = self.0.first().and_then(|part| part.sum.as_ref()) {
            let text = format!("{} {}", sum.algorithm.name(), STANDARD.encode(bytes));
            map.insert(PART_SUMS.to_owned(), text);
        }
    }

    /// Reads them off what is said of an object.
    fn of_object(map: &HashMap<String, String>) -> Option<Self> {
        let mut parts = Vec::new();
        let mut start = 0u64;
        for run in map.get(PARTS)?.split(' ') {
            let (numbers, size) = run.split_once(':')?;
            let (first, last) = numbers.split_once('-')?;
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            let size: u64 = size.parse().ok()?;
            // What a damaged text says must not fill the memory.
            if last > PART_NUMBER_MAX as u32 {
                return None;
            }
            for number in first..=last {
                let end = start.checked_add(size)?;
                let range = start..end;
                start = end;
                let sum = None;
                parts.push(PartOfObject { number, range, sum });
            }
        }
        if let Some((algorithm, bytes)) = sums_of(map)
            && bytes.len() == parts.len() * algorithm.length()
        {
            for (part, bytes) in parts.iter_mut().zip(bytes.chunks(algorithm.length())) {
                let value = STANDARD.encode(bytes);
                part.sum = Some(Sum { algorithm, value });
            }
        }
        Some(Boundaries(parts))
    }
}

fn sums_of(map: &HashMap<String, String>) -> Option<(Algorithm, Vec<u8>)> {
    let (algorithm, bytes) = map.get(PART_SUMS)?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    Some((Algorithm::of_name(algorithm)?, bytes))
}

impl Made {
    /// How that object was made.
    pub fn of(object: &ObjectInfo) -> Self {
        if let Some(parts) = Boundaries::of_object(&object.metadata) {
            return Made::OfParts(parts);
        }
        let count = object.etag.split_once('-').map(|(_, count)| count.parse());
        match count {
            Some(Ok(count)) => Made::OfUnknown(count),
            _ => Made::Whole,
        }
    }

    /// How many parts it was made of, if it was made of any.
    pub fn count(&self) -> Option<usize> {
        match self {
            Made::Whole => None,
            Made::OfParts(parts) => Some(parts.0.len()),
            Made::OfUnknown(count) => Some(*count),
        }
    }
}

/// The part of an object with that number. All of what was made at once is its part 1.
pub fn part(object: &ObjectInfo, number: i32) -> S3Result<Asked> {
    if !(1..=PART_NUMBER_MAX).contains(&number) {
        return Err(s3_error!(
            InvalidArgument,
            "partNumber is 1 to {PART_NUMBER_MAX}, not {number}"
        ));
    }
    let made = Made::of(object);
    let count = made.count();
    let all = Asked {
        range: 0..object.size,
        count,
        sum: None,
    };
    match made {
        Made::Whole | Made::OfUnknown(1) if number == 1 => Ok(all),
        Made::OfUnknown(count) if count > 1 => Err(s3_error!(
            NotImplemented,
            "the object was made of {count} parts by a version that did not keep where they lie: read ranges of it"
        )),
        Made::OfParts(parts) => {
            let place = parts
                .0
                .binary_search_by_key(&(number as u32), |part| part.number);
            let part = place.ok().map(|place| parts.0[place].clone());
            let part = part.ok_or_else(|| no_such_part(number))?;
            Ok(Asked {
                range: part.range,
                count,
                sum: part.sum,
            })
        }
        _ => Err(no_such_part(number)),
    }
}

fn no_such_part(number: i32) -> S3Error {
    let code = S3ErrorCode::Custom("InvalidPartNumber".into());
    let mut error = S3Error::with_message(code, format!("the object has no part {number}"));
    error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::attributes::{COMPOSITE, FULL_OBJECT};
    use crate::s3::checksums::of_bytes;

    fn sum(number: u32) -> Sum {
        Sum {
            algorithm: Algorithm::Crc32c,
            value: STANDARD.encode(of_bytes(Algorithm::Crc32c, &number.to_be_bytes())),
        }
    }

    /// What is said of an object of these parts.
    fn said(parts: &[(u32, u64)], with_sums: bool) -> (BTreeMap<String, String>, Boundaries) {
        let mut map = BTreeMap::new();
        if with_sums {
            map.extend([attributes::upload_checksum(Algorithm::Crc32c, COMPOSITE)]);
        }
        let parts: Vec<_> = parts
            .iter()
            .map(|(number, size)| UploadedPart {
                number: *number,
                size: *size,
                etag: String::new(),
                modified_ms: 0,
                metadata: BTreeMap::from([attributes::checksum(&sum(*number), FULL_OBJECT)]),
            })
            .collect();
        let boundaries = Boundaries::of_upload(&parts, &map);
        boundaries.note(&mut map);
        (map, boundaries)
    }

    #[test]
    fn parts_come_back_as_they_were_joined() {
        for with_sums in [false, true] {
            for parts in [
                vec![(1, 5), (2, 5), (3, 5), (4, 2)],
                vec![(3, 0)],
                vec![(1, 5), (3, 5), (4, 6), (10_000, 6)],
                (1..=10_000).map(|number| (number, 9)).collect(),
            ] {
                let (map, boundaries) = said(&parts, with_sums);
                let map: HashMap<_, _> = map.into_iter().collect();
                let found = Boundaries::of_object(&map).unwrap();
                assert_eq!(found, boundaries);
                assert_eq!(found.0.len(), parts.len());
                let total: u64 = parts.iter().map(|(_, size)| size).sum();
                assert_eq!(found.0.last().unwrap().range.end, total);
                let expected = with_sums.then(|| sum(parts[0].0));
                assert_eq!(found.0[0].sum, expected);
            }
        }
        let (map, _) = said(&(1..=10_000).map(|n| (n, 9)).collect::<Vec<_>>(), false);
        assert_eq!(map[PARTS], "1-10000:9");
    }

    #[test]
    fn a_part_is_found_by_its_number() {
        let (map, _) = said(&[(1, 5), (2, 5), (4, 2)], true);
        let mut object = ObjectInfo {
            key: "k".into(),
            size: 12,
            etag: "0-3".into(),
            content_type: String::new(),
            modified_ms: 0,
            metadata: map.into_iter().collect(),
        };
        let found = part(&object, 4).unwrap();
        assert_eq!((found.range, found.count), (10..12, Some(3)));
        assert_eq!(found.sum, Some(sum(4)));
        let code = |object: &ObjectInfo, number| {
            let error = part(object, number).err().unwrap();
            error.code().as_str().to_owned()
        };
        assert_eq!(code(&object, 3), "InvalidPartNumber");
        assert_eq!(code(&object, 0), "InvalidArgument");
        object.metadata.clear();
        assert_eq!(code(&object, 1), "NotImplemented");
        object.etag = "0-1".into();
        assert_eq!(part(&object, 1).unwrap().range, 0..12);
        object.etag = "0".into();
        assert_eq!(part(&object, 1).unwrap().count, None);
        assert_eq!(code(&object, 2), "InvalidPartNumber");
        for text in [
            "",
            "1",
            "1-2",
            "1-4294967295:1",
            "1-2:x",
            "1-2:18446744073709551615",
        ] {
            object.metadata.insert(PARTS.to_owned(), text.to_owned());
            assert!(Boundaries::of_object(&object.metadata).is_none(), "{text}");
        }
    }
}
