package libra.flink;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.config.TableConfigOptions;
import org.apache.flink.table.api.internal.TableEnvironmentInternal;
import org.apache.flink.table.catalog.CatalogFunction;
import org.apache.flink.table.operations.BeginStatementSetOperation;
import org.apache.flink.table.operations.CompileAndExecutePlanOperation;
import org.apache.flink.table.operations.EndStatementSetOperation;
import org.apache.flink.table.operations.ModifyOperation;
import org.apache.flink.table.operations.Operation;
import org.apache.flink.table.operations.QueryOperation;
import org.apache.flink.table.operations.StatementSetOperation;
import org.apache.flink.table.operations.command.AddJarOperation;
import org.apache.flink.table.operations.command.ExecutePlanOperation;
import org.apache.flink.table.operations.command.ResetOperation;
import org.apache.flink.table.operations.command.SetOperation;
import org.apache.flink.table.operations.ddl.AlterCatalogFunctionOperation;
import org.apache.flink.table.operations.ddl.AnalyzeTableOperation;
import org.apache.flink.table.operations.ddl.CreateCatalogFunctionOperation;
import org.apache.flink.table.operations.ddl.CreateTempSystemFunctionOperation;

/**
 * Runs SQL statements as one Flink job. They are the arguments, or else, with a NUL between them, the file
 * `libra_statements` of this jar.
 *
 * <p>Everything but INSERTs is carried out in order; all INSERTs together become the job, at the end. A deployment is one
 * job with one id: a statement that would make a second one, or one whose rows nobody reads, is refused before anything
 * runs.
 *
 * <p>With {@code --no-code} as the first argument, a statement that brings a program along is refused too. Flink's own
 * parser has read it by then, so no way to write it is missed.
 */
public final class Sql {
    private static final String STATEMENTS = "/libra_statements";
    /** No statement can be this: to Flink it is a comment. */
    private static final String NO_CODE = "--no-code";
    /** How settings begin that are Flink's own; the id of the job, by which Libra knows it, is one. */
    private static final String INTERNAL = "$internal.";
    /** Settings that name programs, or what runs them. */
    private static final Set<String> OF_CODE =
            Set.of(
                    "pipeline.jars",
                    "pipeline.classpaths",
                    "python.archives",
                    "python.client.executable",
                    "python.executable",
                    "python.files",
                    "python.pythonpath",
                    "python.requirements");
    /** The longest piece of a statement in a message, in characters. */
    private static final int MOST_SHOWN = 60;

    private final TableEnvironmentInternal tables;
    /** Whether statements may bring programs along. */
    private final boolean mayBringCode;
    /** What the one job writes. */
    private final List<ModifyOperation> inserts = new ArrayList<>();
    /** A statement that is a job of its own. */
    private Operation alone;

    private Sql(TableEnvironmentInternal tables, boolean mayBringCode) {
        this.tables = tables;
        this.mayBringCode = mayBringCode;
    }

    public static void main(String[] args) throws Exception {
        boolean noCode = args.length > 0 && args[0].equals(NO_CODE);
        List<String> given = Arrays.asList(args).subList(noCode ? 1 : 0, args.length);
        List<String> statements = given.isEmpty() ? packed() : given;
        // Holds what Libra has told Flink of this job; whether it is a batch, for one.
        Configuration told =
                Configuration.fromMap(
                        StreamExecutionEnvironment.getExecutionEnvironment().getConfiguration().toMap());
        EnvironmentSettings settings = EnvironmentSettings.newInstance().withConfiguration(told).build();
        new Sql((TableEnvironmentInternal) TableEnvironment.create(settings), !noCode).run(statements);
    }

    private static List<String> packed() throws IOException {
        try (InputStream file = Sql.class.getResourceAsStream(STATEMENTS)) {
            if (file == null) {
                throw new IllegalArgumentException("there is no statement");
            }
            return Arrays.asList(new String(file.readAllBytes(), StandardCharsets.UTF_8).split("\0"));
        }
    }

    private void run(List<String> statements) {
        for (int at = 0; at < statements.size(); at++) {
            try {
                take(statements.get(at));
            } catch (Refused refused) {
                throw refused.at(at, statements.get(at));
            } catch (Exception error) {
                throw new Refused(words(error)).at(at, statements.get(at));
            }
        }
        // Else main() would wait until the job ends.
        tables.getConfig().set(TableConfigOptions.TABLE_DML_SYNC, false);
        if (alone != null) {
            tables.executeInternal(alone);
        } else if (inserts.isEmpty()) {
            throw new Refused("there is no INSERT, so there is nothing to run; add one that writes the result to a table");
        } else {
            tables.executeInternal(inserts);
        }
    }

    private void take(String statement) {
        for (Operation operation : tables.getParser().parse(statement)) {
            take(operation);
        }
    }

    private void take(Operation operation) {
        if (setting(operation).filter(key -> key.startsWith(INTERNAL)).isPresent()) {
            throw new Refused("it sets what is Flink's own; leave it out");
        }
        if (!mayBringCode && bringsCode(operation)) {
            throw new Refused(
                    "it brings a program along, and programs have to be signed here; put the statements into a file and sign"
                            + " that");
        }
        if (operation instanceof BeginStatementSetOperation || operation instanceof EndStatementSetOperation) {
            // All INSERTs are one set anyway.
        } else if (operation instanceof StatementSetOperation) {
            beside();
            inserts.addAll(((StatementSetOperation) operation).getOperations());
        } else if (operation instanceof QueryOperation) {
            throw new Refused("nobody reads the rows of a query; write INSERT INTO a table, then the query");
        } else if (isJob(operation)) {
            if (alone != null || !inserts.isEmpty()) {
                throw new Refused("it is a job of its own, and a deployment is one job; give it a deployment of its own");
            }
            alone = operation;
        } else if (operation instanceof ModifyOperation) {
            beside();
            inserts.add((ModifyOperation) operation);
        } else {
            if (alone != null || !inserts.isEmpty()) {
                throw new Refused(
                        "it stands after an INSERT, and all INSERTs run together at the end; put it before the first one");
            }
            carryOut(operation);
        }
    }

    /** The setting that is changed, in small letters. */
    private static Optional<String> setting(Operation operation) {
        Optional<String> key = Optional.empty();
        if (operation instanceof SetOperation) {
            key = ((SetOperation) operation).getKey();
        } else if (operation instanceof ResetOperation) {
            key = ((ResetOperation) operation).getKey();
        }
        return key.map(name -> name.trim().toLowerCase(Locale.ROOT));
    }

    private static boolean bringsCode(Operation operation) {
        CatalogFunction function = null;
        if (operation instanceof CreateCatalogFunctionOperation) {
            function = ((CreateCatalogFunctionOperation) operation).getCatalogFunction();
        } else if (operation instanceof CreateTempSystemFunctionOperation) {
            function = ((CreateTempSystemFunctionOperation) operation).getCatalogFunction();
        } else if (operation instanceof AlterCatalogFunctionOperation) {
            function = ((AlterCatalogFunctionOperation) operation).getCatalogFunction();
        }
        return operation instanceof AddJarOperation
                || (function != null && !function.getFunctionResources().isEmpty())
                || setting(operation).filter(OF_CODE::contains).isPresent();
    }

    private void beside() {
        if (alone != null) {
            throw new Refused("there is a statement before that is a job of its own; give it a deployment of its own");
        }
    }

    private static boolean isJob(Operation operation) {
        return operation instanceof ExecutePlanOperation
                || operation instanceof CompileAndExecutePlanOperation
                || operation instanceof AnalyzeTableOperation;
    }

    private void carryOut(Operation operation) {
        Configuration configuration = tables.getConfig().getConfiguration();
        if (operation instanceof SetOperation) {
            SetOperation set = (SetOperation) operation;
            // Without a key it would list the settings.
            if (set.getKey().isPresent() && set.getValue().isPresent()) {
                tables.getConfig().set(set.getKey().get(), set.getValue().get());
            }
        } else if (operation instanceof ResetOperation) {
            ((ResetOperation) operation).getKey().ifPresent(key -> configuration.removeKey(key));
        } else {
            tables.executeInternal(operation);
        }
    }

    /** The messages of an error and its causes, each once. */
    private static String words(Throwable error) {
        StringBuilder words = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            String message = cause.getMessage() == null ? cause.toString() : cause.getMessage();
            if (words.indexOf(message) < 0) {
                words.append(words.length() == 0 ? "" : ": ").append(message);
            }
        }
        return words.toString();
    }

    /** Why a statement is not run. Its text is the message alone: it is what people read. */
    private static final class Refused extends RuntimeException {
        private Refused(String message) {
            super(message);
        }

        private Refused at(int index, String statement) {
            String line = statement.strip().replaceAll("\\s+", " ");
            String shown = line.length() > MOST_SHOWN ? line.substring(0, MOST_SHOWN) + "…" : line;
            return new Refused("statement " + (index + 1) + " (" + shown + "): " + getMessage());
        }

        @Override
        public String toString() {
            return getMessage();
        }
    }
}
