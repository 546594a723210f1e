CREATE TABLE products (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  sku text NOT NULL,
  name text NOT NULL,
  price_cents bigint NOT NULL CHECK (price_cents >= 0),
  ships_to text[] NOT NULL DEFAULT '{}',  -- country codes; none: everywhere
  PRIMARY KEY (tenant_id, sku)
);

-- Reserved is what orders in status placed and paid hold; what is shipped is in neither column.
CREATE TABLE stock (
  tenant_id uuid NOT NULL,
  sku text NOT NULL,
  available integer NOT NULL CHECK (available >= 0),
  reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  PRIMARY KEY (tenant_id, sku),
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

-- What was done, once for each key. The key is the caller's: episode and step, or user and Idempotency-Key.
CREATE TABLE effects (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  key text NOT NULL,
  kind text NOT NULL,
  episode_id uuid,
  arguments jsonb NOT NULL,
  result jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key)
);

CREATE TABLE orders (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  user_id text NOT NULL,
  episode_id uuid,
  sku text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  total_cents bigint NOT NULL CHECK (total_cents >= 0),
  status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'paid', 'shipped', 'cancelled', 'refunded')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

CREATE TABLE payments (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  token text NOT NULL,
  amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
  status text NOT NULL DEFAULT 'captured' CHECK (status IN ('captured', 'refunded')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, order_number) REFERENCES orders ON DELETE CASCADE
);

CREATE TABLE refunds (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, order_number) REFERENCES payments ON DELETE CASCADE
);

CREATE TABLE shipments (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  tracking_code text NOT NULL,
  status text NOT NULL DEFAULT 'preparing' CHECK (status IN ('preparing', 'shipped', 'cancelled')),
  country text,
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, order_number) REFERENCES orders ON DELETE CASCADE
);

CREATE TABLE leads (
  tenant_id uuid NOT NULL,
  lead_number text NOT NULL,
  user_id text NOT NULL,
  sku text NOT NULL,
  quantity integer CHECK (quantity > 0),
  budget_cents bigint CHECK (budget_cents > 0),
  stage text NOT NULL DEFAULT 'captured' CHECK (stage IN ('captured', 'qualified', 'converted')),
  order_number text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, lead_number),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE,
  CHECK (stage = 'captured' OR quantity IS NOT NULL),
  CHECK ((stage = 'converted') = (order_number IS NOT NULL))
);

CREATE TABLE notifications (
  tenant_id uuid NOT NULL,
  effect_key text NOT NULL,
  user_id text NOT NULL,
  order_number text NOT NULL,
  event text NOT NULL CHECK (event IN ('delivery')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, effect_key),
  FOREIGN KEY (tenant_id, order_number) REFERENCES orders ON DELETE CASCADE
);

CREATE TABLE handoffs (
  tenant_id uuid NOT NULL,
  effect_key text NOT NULL,
  user_id text NOT NULL,
  conversation integer,
  reason text NOT NULL,
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, effect_key),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

-- Double entry: the rows of one effect sum to zero.
CREATE TABLE ledger (
  tenant_id uuid NOT NULL,
  effect_key text NOT NULL,
  account text NOT NULL CHECK (account IN ('receivables', 'sales', 'cash', 'refunds')),
  debit_cents bigint NOT NULL DEFAULT 0 CHECK (debit_cents >= 0),
  credit_cents bigint NOT NULL DEFAULT 0 CHECK (credit_cents >= 0),
  PRIMARY KEY (tenant_id, effect_key, account),
  FOREIGN KEY (tenant_id, effect_key) REFERENCES effects (tenant_id, key) ON DELETE CASCADE,
  CHECK (debit_cents = 0 OR credit_cents = 0)
);

-- The application changes only what has a reason to change.
GRANT UPDATE (available, reserved) ON stock TO bazaar_app;
GRANT UPDATE (status) ON orders, payments TO bazaar_app;
GRANT UPDATE (status, country) ON shipments TO bazaar_app;
GRANT UPDATE (quantity, budget_cents, stage, order_number) ON leads TO bazaar_app;
