//! Random sequences of registry operations over HTTP, against a model in memory.
//!
//! Every answer of the program is compared with the model's: status, error code, headers and
//! body. Now and then the program is killed and started again, which must change nothing. The
//! seed is printed; `MODEL_SEED=<seed>` runs the same sequences again and `MODEL_CASES=<number>`
//! more of them. A failing sequence is cut down to a short one first.

#[path = "../support/mod.rs"]
mod support;

#[path = "model/answer.rs"]
mod answer;
#[path = "model/driver.rs"]
mod driver;
#[path = "model/expected.rs"]
mod expected;
#[path = "model/operation.rs"]
mod operation;
#[path = "model/pool.rs"]
mod pool;
#[path = "model/pushes.rs"]
mod pushes;
#[path = "model/reads.rs"]
mod reads;

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use driver::Driver;
use operation::Manifest;
use pool::Pool;

const CASES: u32 = 40;
const OPERATIONS_MAX: usize = 160;
const MANIFESTS_MAX: usize = 5;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn every_answer_is_that_of_the_model() {
    let seed = variable("MODEL_SEED").unwrap_or_else(rand::random);
    let cases = variable("MODEL_CASES").map_or(CASES, |cases| cases as u32);
    println!("MODEL_SEED={seed} MODEL_CASES={cases}");
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());

    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sequences = (
        vec(operation::manifest(), 1..=MANIFESTS_MAX),
        operation::prelude(),
        vec(operation::operation(), 1..=OPERATIONS_MAX),
    );
    let outcome = runner.run(&sequences, |(manifests, prelude, operations)| {
        let operations = [prelude, operations].concat();
        let result = runtime.block_on(run(&manifests, &operations));
        result.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (manifests, prelude, operations))) => panic!(
            "MODEL_SEED={seed} fails: {reason}\nmanifests: {manifests:#?}\nbefore: {prelude:#?}\n\
             operations: {operations:#?}"
        ),
        Err(TestError::Abort(reason)) => panic!("MODEL_SEED={seed} was aborted: {reason}"),
    }
}

async fn run(manifests: &[Manifest], operations: &[operation::Operation]) -> anyhow::Result<()> {
    let pool = Pool::new(manifests);
    let directory = tempfile::tempdir()?;
    let mut driver = Driver::start(directory.path(), &pool);
    for (position, operation) in operations.iter().enumerate() {
        driver
            .step(operation)
            .await
            .map_err(|error| error.context(format!("operation {position}, {operation:?}")))?;
    }
    let compared = driver.compare_everything().await;
    compared.map_err(|error| error.context("behind the last operation"))
}
