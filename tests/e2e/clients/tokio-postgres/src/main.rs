//! tokio-postgres reads none of libpq's variables itself, and leaves certificates to rustls.

use std::env::{self, var};
use std::error::Error;
use std::process::ExitCode;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Builder;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

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
    Ok(CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?)
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

fn main() -> ExitCode {
    let query = env::args().nth(1).expect("a query");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(answer(&query)) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut cause = Some(&*error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
