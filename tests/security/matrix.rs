//! Every role, method, endpoint, repository and spelling of a path, held against the oracle.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::client::{digest_of, image};
use crate::oracle::{Answer, Deed, Repository, Role, Spelling, expected, is_known, may_pull};
use crate::place::{Caller, Place, STRANGER, basic, bearer};

const ROLES: [Role; 12] = [
    Role::Stranger,
    Role::WrongPassword,
    Role::UnknownAccount,
    Role::Disabled,
    Role::Newcomer,
    Role::Reader,
    Role::Creator,
    Role::Writer,
    Role::Deleter,
    Role::Blind,
    Role::Member,
    Role::Administrator,
];

const REPOSITORIES: [(Repository, &str); 6] = [
    (Repository::Team, "team/a"),
    (Repository::Group, "group/a"),
    (Repository::Public, "public/a"),
    (Repository::Private, "private/a"),
    (Repository::Frozen, "frozen/a"),
    (Repository::Absent, "team/absent"),
];

const SPELLINGS: [Spelling; 6] = [
    Spelling::Plain,
    Spelling::Escaped,
    Spelling::EscapedSlash,
    Spelling::DoubleSlash,
    Spelling::Dots,
    Spelling::TrailingSlash,
];

const DEEDS: [Deed; 11] = [
    Deed::Base,
    Deed::Catalog,
    Deed::Tags,
    Deed::Referrers,
    Deed::Manifest,
    Deed::NewTag,
    Deed::MovedTag,
    Deed::Blob,
    Deed::BeginUpload,
    Deed::Upload,
    Deed::Nowhere,
];

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];

const RULES: [&str; 9] = [
    "deny user:administrator overwrite,delete frozen/**",
    "deny user:writer overwrite,delete frozen/**",
    "allow user:writer all frozen/**",
    "allow everybody pull public/**",
    "allow user:reader pull team/**",
    "allow user:creator pull,push-new team/**",
    "allow user:deleter pull,delete team/**",
    "allow user:blind push team/**",
    "allow group:members pull,push-new group/**",
];

/// A connection that requests are sent on as they are written.
struct Connection<'a> {
    place: &'a Place,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection<'_> {
    fn send(
        &mut self,
        caller: &Caller,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> u16 {
        let place = self.place;
        let stream = self
            .stream
            .get_or_insert_with(|| BufReader::new(place.registry.server.connect()));
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n");
        if let Some(authorization) = &caller.0 {
            head += &format!("Authorization: {authorization}\r\n");
        }
        head += &format!("Content-Type: {content_type}\r\n");
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request).unwrap();

        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line).unwrap();
            let header = line.trim_end().to_ascii_lowercase();
            match header.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("connection", "close")) => closes = true,
                Some(_) => {}
                None => break,
            }
        }
        if method != "HEAD" {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
        }
        if closes {
            self.stream = None;
        }
        status
    }
}

/// Two images that the moving tags go to and fro between.
struct Images {
    bodies: [Vec<u8>; 2],
    media_type: String,
}

struct Matrix<'a> {
    connection: Connection<'a>,
    images: Images,
    /// Which of the two the moving tag of a repository points at.
    points_at: BTreeMap<&'static str, usize>,
    cells: usize,
    mismatches: Vec<String>,
}

impl Matrix<'_> {
    fn cell(
        &mut self,
        caller: &Caller,
        role: Role,
        (repository, name): (Repository, &'static str),
        deed: Deed,
        method: &str,
        spelling: Spelling,
    ) {
        self.cells += 1;
        let digest = digest_of(b"layer");
        let id = "00000000-0000-4000-8000-000000000000";
        let plain = match deed {
            Deed::Base => "/v2".to_owned(),
            Deed::Catalog => "/v2/_catalog".to_owned(),
            Deed::Tags => format!("/v2/{name}/tags/list"),
            Deed::Referrers => format!("/v2/{name}/referrers/{digest}"),
            // What no push has: its delete finds nothing, and its push is no manifest.
            Deed::Manifest => format!("/v2/{name}/manifests/unknown"),
            Deed::NewTag => format!("/v2/{name}/manifests/new-{}", self.cells),
            Deed::MovedTag => format!("/v2/{name}/manifests/moving"),
            Deed::Blob => format!("/v2/{name}/blobs/{}", digest_of(b"unknown")),
            Deed::BeginUpload => format!("/v2/{name}/blobs/uploads"),
            Deed::Upload => format!("/v2/{name}/blobs/uploads/{id}"),
            Deed::Nowhere => format!("/v2/{name}/nothing/here"),
        };
        let path = spelt(&plain, spelling);
        let at = self.points_at.get(name).copied();
        let pushes = matches!(deed, Deed::NewTag | Deed::MovedTag) && method == "PUT";
        let (media_type, body) = match (pushes, at) {
            (true, Some(at)) => (
                self.images.media_type.clone(),
                self.images.bodies[1 - at].clone(),
            ),
            _ => ("application/octet-stream".to_owned(), Vec::new()),
        };
        let status = self
            .connection
            .send(caller, method, &path, &media_type, &body);
        if deed == Deed::MovedTag && status == 201 {
            self.points_at.entry(name).and_modify(|at| *at = 1 - *at);
        }
        let answer = expected(role, repository, deed, method, spelling);
        let fits = match answer {
            Answer::LogIn => status == 401,
            Answer::Denied => status == 403,
            Answer::NoRoute => status == 404 || status == 400,
            Answer::NoMethod => status == 405,
            Answer::Let if pushes && at.is_some() => status == 201,
            Answer::Let => ![401, 403, 405, 500].contains(&status),
        };
        if !fits {
            self.mismatches.push(format!(
                "{role:?} {method} {path} ({repository:?} {deed:?} {spelling:?}): {status}, not {answer:?}"
            ));
        }
    }

    /// A mount into a repository of the role's, from another.
    fn mount(&mut self, caller: &Caller, role: Role, into: Repository, from: (Repository, &str)) {
        self.cells += 1;
        let into_name = REPOSITORIES.iter().find(|it| it.0 == into).unwrap().1;
        let digest = digest_of(b"layer");
        let path = format!(
            "/v2/{into_name}/blobs/uploads/?mount={digest}&from={}",
            from.1
        );
        let status = self
            .connection
            .send(caller, "POST", &path, "text/plain", b"");
        let may_push = expected(role, into, Deed::BeginUpload, "POST", Spelling::Plain);
        let fits = match may_push {
            Answer::LogIn => status == 401,
            Answer::Denied => status == 403,
            _ if may_pull(role, from.0) && from.0 != Repository::Absent => status == 201,
            _ => status == 202,
        };
        if !fits {
            self.mismatches
                .push(format!("{role:?} POST {path}: {status}"));
        }
    }
}

/// All that a token can be asked for.
fn scopes() -> Vec<&'static str> {
    vec![
        "repository:team/a:* repository:group/a:* repository:public/a:*",
        "repository:private/a:* repository:frozen/a:* repository:team/absent:*",
        "registry:catalog:*",
    ]
}

fn spelt(plain: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::Plain => plain.to_owned(),
        Spelling::Escaped => plain.replacen("/v2", "/%76%32", 1).replace("m", "%6d"),
        Spelling::EscapedSlash => format!("/{}", plain[1..].replace('/', "%2f") + "%2f"),
        Spelling::DoubleSlash => plain.replacen("/v2", "/v2/", 1) + "/",
        Spelling::Dots => plain.replacen("/v2", "/v2/public/a/../..", 1),
        Spelling::TrailingSlash => format!("{plain}/"),
    }
}

#[test]
fn every_cell_of_the_matrix_is_answered_as_the_oracle_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A line for each cell would be all that a failure shows.
    let log = ("RUST_LOG", "info,drift::http::middleware=warn");
    let place = Place::with(&[log], &RULES);
    place.rule("allow user:writer pull,push team/**");
    let callers = ROLES.map(|role| match role {
        Role::Stranger => STRANGER,
        Role::WrongPassword => basic("reader", "a wrong password"),
        Role::UnknownAccount => basic("nobody", "a wrong password"),
        Role::Disabled => {
            let caller = place.user("disabled", &["admins"]);
            place.command(&["user", "disable", "disabled"]);
            caller
        }
        Role::Member => place.user("member", &["members"]),
        Role::Administrator => place.user("administrator", &["admins"]),
        role => place.user(&format!("{role:?}").to_lowercase(), &[]),
    });
    let admin = place.admin();
    let images = runtime.block_on(async {
        for (repository, name) in REPOSITORIES {
            if repository != Repository::Absent {
                place.push_image(&admin, name, "moving", b"layer").await;
                place.push_blob(&admin, name, b"other").await.expect(201);
            }
        }
        let body = |layer: &[u8]| serde_json::to_vec(&image(b"{}", &[layer])).unwrap();
        Images {
            bodies: [body(b"layer"), body(b"other")],
            media_type: crate::client::IMAGE.to_owned(),
        }
    });
    let with_images = REPOSITORIES.iter().filter(|it| it.0 != Repository::Absent);
    let mut matrix = Matrix {
        connection: Connection {
            place: &place,
            stream: None,
        },
        images,
        points_at: with_images.map(|(_, name)| (*name, 0)).collect(),
        cells: 0,
        mismatches: Vec::new(),
    };
    let known = ROLES
        .iter()
        .zip(&callers)
        .filter(|(role, _)| is_known(**role));
    let by_token: Vec<_> = known
        .flat_map(|(role, caller)| {
            let signed = bearer(&runtime.block_on(place.token(caller, &scopes())));
            let name = format!("of-{role:?}").to_lowercase();
            let owner = format!("{role:?}").to_lowercase();
            let secret = place.robot(&name, "all", "**", &["--user", &owner]);
            [(*role, signed), (*role, basic("any", &secret))]
        })
        .collect();
    for (role, caller) in &by_token {
        for at in REPOSITORIES {
            for deed in DEEDS {
                if deed == Deed::MovedTag && at.0 == Repository::Absent {
                    continue;
                }
                let tags = matches!(deed, Deed::NewTag | Deed::MovedTag);
                for method in METHODS.iter().filter(|method| !tags || **method == "PUT") {
                    matrix.cell(caller, *role, at, deed, method, Spelling::Plain);
                }
            }
        }
        for from in REPOSITORIES
            .into_iter()
            .filter(|from| from.0 != Repository::Team)
        {
            matrix.mount(caller, *role, Repository::Team, from);
        }
    }
    for (role, caller) in ROLES.into_iter().zip(&callers) {
        // Each refused password costs what it is to cost: those roles go the plain way alone.
        let refused = !is_known(role) && role != Role::Stranger;
        let spellings = if refused { &SPELLINGS[..1] } else { &SPELLINGS };
        let methods = if refused { &METHODS[..3] } else { &METHODS };
        for at in REPOSITORIES {
            for deed in DEEDS {
                // Where nothing is, nothing can be moved.
                if deed == Deed::MovedTag && at.0 == Repository::Absent {
                    continue;
                }
                let tags = matches!(deed, Deed::NewTag | Deed::MovedTag);
                for method in methods.iter().filter(|method| !tags || **method == "PUT") {
                    for spelling in spellings {
                        matrix.cell(caller, role, at, deed, method, *spelling);
                    }
                }
            }
        }
        for into in [Repository::Team, Repository::Group] {
            for from in REPOSITORIES.into_iter().filter(|from| from.0 != into) {
                matrix.mount(caller, role, into, from);
            }
        }
    }
    println!("{} cells", matrix.cells);
    assert!(matrix.cells >= 20_000, "{}", matrix.cells);
    let mismatches = &matrix.mismatches;
    assert!(
        mismatches.is_empty(),
        "{} mismatches:\n{}",
        mismatches.len(),
        mismatches[..mismatches.len().min(40)].join("\n")
    );
}
