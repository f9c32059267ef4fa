//! tokio-postgres reads none of libpq's variables itself, and leaves certificates to rustls.

use std::env::{self, var};
use std::error::Error;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn tls() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&var("PGSSLROOTCERT")?)? {
        roots.add(root)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(match var("PGSSLCERT") {
        Ok(chain) => config.with_client_auth_cert(
            certificates(&chain)?,
            PrivateKeyDer::from_pem_file(var("PGSSLKEY")?)?,
        )?,
        Err(_) => config.with_no_client_auth(),
    })
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_file_iter(file)?.collect::<std::result::Result<_, _>>()?)
}

async fn answer(query: &str) -> Result<String> {
    let mut config = Config::new();
    config
        .host(var("PGHOST")?)
        .port(var("PGPORT")?.parse()?)
        .user(var("PGUSER")?)
        .dbname(var("PGDATABASE")?)
        .ssl_mode(SslMode::Require);
    if let Ok(password) = var("PGPASSWORD") {
        config.password(password);
    }
    let (client, connection) = config.connect(MakeRustlsConnect::new(tls()?)).await?;
    tokio::spawn(connection);
    Ok(client.query_one(query, &[]).await?.get(0))
}

fn main() -> Result<()> {
    let query = env::args().nth(1).ok_or("no query")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(answer(&query))?);
    Ok(())
}
