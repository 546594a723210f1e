CREATE TABLE products (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  sku text NOT NULL,
  name text NOT NULL,
  price_cents bigint NOT NULL CHECK (price_cents >= 0),
  PRIMARY KEY (tenant_id, sku)
);

CREATE TABLE stock (
  tenant_id uuid NOT NULL,
  sku text NOT NULL,
  available integer NOT NULL CHECK (available >= 0),
  reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  PRIMARY KEY (tenant_id, sku),
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

CREATE TABLE effects (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  key text NOT NULL,
  kind text NOT NULL,
  episode_id uuid NOT NULL,
  result jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key)
);

CREATE TABLE orders (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  user_id text NOT NULL,
  episode_id uuid NOT NULL,
  sku text NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  total_cents bigint NOT NULL CHECK (total_cents >= 0),
  status text NOT NULL DEFAULT 'placed' CHECK (status IN ('placed')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, sku) REFERENCES products ON DELETE CASCADE
);

CREATE TABLE shipments (
  tenant_id uuid NOT NULL,
  order_number text NOT NULL,
  tracking_code text NOT NULL,
  status text NOT NULL DEFAULT 'preparing' CHECK (status IN ('preparing')),
  PRIMARY KEY (tenant_id, order_number),
  FOREIGN KEY (tenant_id, order_number) REFERENCES orders ON DELETE CASCADE
);

-- Double entry: the rows of one effect sum to zero.
CREATE TABLE ledger (
  tenant_id uuid NOT NULL,
  effect_key text NOT NULL,
  account text NOT NULL CHECK (account IN ('receivables', 'sales')),
  debit_cents bigint NOT NULL DEFAULT 0 CHECK (debit_cents >= 0),
  credit_cents bigint NOT NULL DEFAULT 0 CHECK (credit_cents >= 0),
  PRIMARY KEY (tenant_id, effect_key, account),
  FOREIGN KEY (tenant_id, effect_key) REFERENCES effects (tenant_id, key) ON DELETE CASCADE,
  CHECK (debit_cents = 0 OR credit_cents = 0)
);

-- The application changes only what has a reason to change.
GRANT UPDATE (available, reserved) ON stock TO bazaar_app;
