//! The rows that Libra wrote for one job, to be written again under other ids by bare inserts.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::bare;
use crate::Outcome;

/// The tables that a submission writes, the column with the job's id, and columns that the database gives.
const TABLES: [(&str, &str, &[&str]); 3] =
    [("jobs", "id", &[]), ("job_specs", "job_id", &[]), ("transitions", "job_id", &["id"])];

enum Value {
    Text(Option<String>),
    Int(Option<i64>),
}

/// One row.
struct Row {
    table: &'static str,
    columns: Vec<String>,
    values: Vec<Value>,
    /// Which column holds the job's id.
    id: usize,
}

/// All rows of one job.
pub(super) struct Rows(Vec<Row>);

/// A column of an insert.
enum Column {
    Texts(Vec<Option<String>>),
    Ints(Vec<Option<i64>>),
}

/// The arguments of an insert.
pub(super) struct Insert(Vec<Column>);

impl Rows {
    /// Reads the rows of the newest job.
    pub(super) async fn of_newest_job(client: &Client) -> Outcome<Self> {
        let id: String = client.query_one("SELECT max(id) FROM jobs", &[]).await?.get(0);
        let mut rows = Vec::new();
        for (table, key, given) in TABLES {
            let sql = format!("SELECT * FROM {table} WHERE {key} = $1");
            for row in client.query(&sql, &[&id]).await? {
                let kept: Vec<_> =
                    row.columns().iter().enumerate().filter(|(_, c)| !given.contains(&c.name())).collect();
                let columns: Vec<String> = kept.iter().map(|(_, c)| c.name().to_owned()).collect();
                let values = kept
                    .iter()
                    .map(|(n, c)| match *c.type_() {
                        Type::INT8 => Value::Int(row.get(*n)),
                        _ => Value::Text(row.get(*n)),
                    })
                    .collect();
                let id = columns.iter().position(|c| c == key).ok_or("no column with the job's id")?;
                rows.push(Row { table, columns, values, id });
            }
        }
        Ok(Self(rows))
    }

    /// An insert of many such rows for each of them.
    pub(super) async fn prepare(&self, client: &Client) -> Outcome<Vec<Statement>> {
        let mut statements = Vec::new();
        for row in &self.0 {
            let places: Vec<String> = (1..)
                .zip(&row.values)
                .map(|(n, value)| match value {
                    Value::Text(_) => format!("${n}::text[]"),
                    Value::Int(_) => format!("${n}::bigint[]"),
                })
                .collect();
            let names = row.columns.join(", ");
            let sql =
                format!("INSERT INTO {} ({names}) SELECT * FROM unnest({})", row.table, places.join(", "));
            statements.push(client.prepare(&sql).await?);
        }
        Ok(statements)
    }

    /// The arguments that insert these jobs.
    pub(super) fn arguments(&self, ids: &[String]) -> Vec<Insert> {
        let insert = |row: &Row| {
            let columns = row.values.iter().enumerate().map(|(n, value)| match value {
                Value::Text(_) if n == row.id => Column::Texts(ids.iter().cloned().map(Some).collect()),
                Value::Text(text) => Column::Texts(vec![text.clone(); ids.len()]),
                Value::Int(number) => Column::Ints(vec![*number; ids.len()]),
            });
            Insert(columns.collect())
        };
        self.0.iter().map(insert).collect()
    }

    /// Inserts these jobs in one transaction and one round trip.
    pub(super) async fn insert(
        &self,
        client: &Client,
        statements: &[Statement],
        ids: &[String],
    ) -> Outcome<()> {
        let inserts = self.arguments(ids);
        let statements: Vec<_> =
            statements.iter().cloned().zip(inserts.iter().map(Insert::references)).collect();
        bare::transaction(client, &statements).await
    }
}

impl Insert {
    fn references(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0
            .iter()
            .map(|column| match column {
                Column::Texts(texts) => texts as &(dyn ToSql + Sync),
                Column::Ints(ints) => ints as &(dyn ToSql + Sync),
            })
            .collect()
    }
}
