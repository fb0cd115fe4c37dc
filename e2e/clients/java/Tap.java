/** Reports checks one by one, in the Test Anything Protocol; a failed one does not stop the rest. */
final class Tap {
    interface Body {
        void run() throws Exception;
    }

    private int count;
    private int failed;

    void check(String name, Body body) {
        count++;
        try {
            body.run();
            System.out.printf("ok %d - %s%n", count, name);
        } catch (Exception | AssertionError error) {
            failed++;
            System.out.printf("not ok %d - %s%n", count, name);
            var trace = new java.io.StringWriter();
            error.printStackTrace(new java.io.PrintWriter(trace));
            trace.toString().lines().limit(40).forEach(line -> System.out.println("  # " + line));
        }
    }

    /** Prints the plan and gives the exit code. */
    int finish() {
        System.out.printf("1..%d%n", count);
        return failed > 0 || count == 0 ? 1 : 0;
    }

    static void that(boolean holds, Object found) {
        if (!holds) {
            throw new AssertionError(String.valueOf(found));
        }
    }

    static void same(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("wanted " + wanted + ", found " + found);
        }
    }
}
