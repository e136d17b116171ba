//! A few clients that talk to one server at once over a link: what most scenarios are made of.

use futures_util::future::join_all;
use net_core::testing::LinkConfig;

use crate::{
    explore::Trace,
    world::{Asked, Net, World},
};

/// How much is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) clients: u32,
    pub(crate) requests: u32,
    /// The longest work of a handler, in milliseconds.
    pub(crate) work: u32,
}

/// Lets clients talk over a link with the faults of `config`, in the world as `adapt` changes it.
pub(crate) async fn talk(
    seed: u64,
    config: LinkConfig,
    talk: Talk,
    adapt: impl FnOnce(&mut World<Net>),
) -> (Trace, World<Net>, Vec<Asked>) {
    let (link, mut world) = World::over(config);
    adapt(&mut world);
    world.server_books.chat();
    let server = world.serve().await;
    let talking = (0..talk.clients).map(|me| {
        let world = &world;
        async move {
            let client = world.client().await;
            let asked = world.asks(&client, me, talk.requests, seed, talk.work).await;
            client.disconnect().await;
            asked
        }
    });
    let asked: Vec<_> = join_all(talking).await.into_iter().flatten().collect();
    let notes = world.check(&server, &asked).await;
    (Trace::new(&link, notes), world, asked)
}
